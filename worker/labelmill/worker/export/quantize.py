"""fp32 graph to static INT8. Owns the recipe as a whole; each step is a module.

Activations are U8 with one scale a value, weights S8 with one a channel, word embeddings INT8
rows. Scales are fixed here and not found for each batch, so a text's answer does not depend on
its neighbours, as it does with ONNX Runtime's dynamic quantization.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx_ir as ir
from threadpoolctl import threadpool_limits

from labelmill.worker import cpu
from labelmill.worker.export import integer
from labelmill.worker.export.calibration import Activations, observe
from labelmill.worker.export.clean import clean
from labelmill.worker.export.embeddings import quantize_embeddings
from labelmill.worker.export.linear import LinearGroup, linear_groups
from labelmill.worker.export.smoothquant import LinearPlan, plan

#: Texts whose activations set the ranges.
CALIBRATION_TEXTS = 300

#: Largest weight with VNNI, and without: there a sum of two U8×S8 products saturates at 16 bits
#: unless weights keep to half their range.
_WEIGHT_MAX, _REDUCED_WEIGHT_MAX = 127, 63


def quantize(model: ir.Model, token_ids: Sequence[Sequence[int]], threads: int) -> dict[str, Any]:
    """Quantizes, in place, a graph that `export_graph` made.

    Args:
        model: the fp32 graph.
        token_ids: calibration texts, one row each; at most `CALIBRATION_TEXTS`, spread over the
            whole, are used.
        threads: to calibrate and search with.

    Returns:
        The recipe, for the manifest.
    """
    rows = token_ids[:: max(1, len(token_ids) // CALIBRATION_TEXTS)][:CALIBRATION_TEXTS]
    reduced = not cpu.has_vnni()
    weight_max = _REDUCED_WEIGHT_MAX if reduced else _WEIGHT_MAX
    groups = linear_groups(model)
    seen = observe(model, [group.name for group in groups], rows, threads)

    def search(group: LinearGroup) -> LinearPlan:
        activations: Activations = seen[group.name]
        return plan(np.concatenate(group.weights, axis=1), activations, weight_max)

    # One group a thread; products of matrices must not start threads of their own.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(threads, thread_name_prefix="search") as pool,
    ):
        plans = list(pool.map(search, groups))
    for group, found in zip(groups, plans, strict=True):
        integer.insert(model.graph, group, found)
    model.opset_imports[integer.CONTRIB_DOMAIN] = integer.CONTRIB_VERSION
    tables = quantize_embeddings(model.graph)
    clean(model)
    return {
        "method": "static SmoothQuant, U8 activations, S8 per-channel weights, INT8 embedding rows",
        "calibration_texts": len(rows),
        "reduced_range": reduced,
        "linear_layers": sum(len(group.nodes) for group in groups),
        "embedding_tables": tables,
        "strengths": [found.strength for found in plans],
        "outlier_channels": sum(len(found.outliers) for found in plans),
        "checked_on": cpu.instruction_sets(),
    }
