"""fp32 graph to static INT8. Owns the recipe as a whole; each step is a module.

Activations are U8 with one scale a value, weights S8 with one a channel, word embeddings INT8
rows. Scales are fixed here and not found for each batch, so a text's answer does not depend on
its neighbours, as it does with ONNX Runtime's dynamic quantization.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from threadpoolctl import threadpool_limits

from labelmill.worker import cpu
from labelmill.worker.export import integer
from labelmill.worker.export.calibration import observe
from labelmill.worker.export.clean import clean
from labelmill.worker.export.embeddings import quantize_embeddings
from labelmill.worker.export.linear import LinearGroup, linear_groups
from labelmill.worker.export.recipe import Recipe
from labelmill.worker.export.smoothquant import LinearPlan, plan
from labelmill.worker.export.value_fold import fold_smoothing

#: Texts whose activations set the ranges.
CALIBRATION_TEXTS = 300

#: Largest weight with VNNI, and without: there a sum of two U8×S8 products saturates at 16 bits
#: unless weights keep to half their range.
_WEIGHT_MAX, _REDUCED_WEIGHT_MAX = 127, 63


class Quantizer:
    """Calibrates once, then quantizes by any number of recipes.

    Args:
        fp32: a file that `export_graph` made.
        token_ids: calibration texts, one row each; at most `CALIBRATION_TEXTS`, spread over the
            whole, are used.
        threads: to calibrate and search with.
    """

    def __init__(self, fp32: Path, token_ids: Sequence[Sequence[int]], threads: int) -> None:
        self._fp32 = fp32
        self._threads = threads
        rows = token_ids[:: max(1, len(token_ids) // CALIBRATION_TEXTS)][:CALIBRATION_TEXTS]
        self._texts = len(rows)
        model = ir.load(fp32)
        names = [group.name for group in linear_groups(model)]
        self._seen = observe(model, names, rows, threads)
        self._reduced = not cpu.has_vnni()

    def quantize(self, recipe: Recipe) -> tuple[ir.Model, dict[str, Any]]:
        """The INT8 graph, and what was done, for the manifest."""
        model = ir.load(self._fp32)
        groups = linear_groups(model)
        plans = self._plans(groups, recipe)
        worst = sorted(range(len(plans)), key=lambda place: -plans[place].error)
        kept = set(worst[: recipe.fp32_groups])
        chosen = [place for place in range(len(plans)) if place not in kept]
        groups = [groups[place] for place in chosen]
        plans = fold_smoothing(groups, [plans[place] for place in chosen])
        for group, found in zip(groups, plans, strict=True):
            integer.insert(model.graph, group, found)
        model.opset_imports[integer.CONTRIB_DOMAIN] = integer.CONTRIB_VERSION
        tables = quantize_embeddings(model.graph)
        clean(model)
        return model, {
            "method": "static, U8 activations, S8 per-channel weights, INT8 embedding rows",
            "recipe": recipe.name,
            "calibration_texts": self._texts,
            "reduced_range": self._reduced,
            "linear_layers": sum(len(group.nodes) for group in groups),
            "fp32_layers": len(kept),
            "embedding_tables": tables,
            "strengths": [found.strength for found in plans],
            "outlier_channels": sum(len(found.outliers) for found in plans),
            "errors": [round(found.error, 4) for found in plans],
            "checked_on": cpu.instruction_sets(),
        }

    def _plans(self, groups: list[LinearGroup], recipe: Recipe) -> list[LinearPlan]:
        weight_max = _REDUCED_WEIGHT_MAX if self._reduced else _WEIGHT_MAX

        def search(group: LinearGroup) -> LinearPlan:
            weight = np.concatenate(group.weights, axis=1)
            narrows = weight.shape[0] > weight.shape[1]
            return plan(
                weight,
                self._seen[group.name],
                weight_max,
                smooth=recipe.smooth_narrowing or not narrows,
                outliers=recipe.narrowing_outliers if narrows else recipe.other_outliers,
            )

        # One group a thread; products of matrices must not start threads of their own.
        with (
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(self._threads, thread_name_prefix="search") as pool,
        ):
            return list(pool.map(search, groups))
