"""INT8 by one recipe after the other, until one passes the gates. Owns when to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from labelmill.registry import Gate
from labelmill.worker.engines.onnx import OnnxEngine
from labelmill.worker.export import gates
from labelmill.worker.export.quantize import Quantizer
from labelmill.worker.export.recipe import RECIPES
from labelmill.worker.export.request import Notify
from labelmill.worker.export.trial import Trial

#: A gate that later recipes fail as well: they only add to the file.
_SIZE_GATE = "int8.size_ratio"


@dataclass(frozen=True)
class Attempt:
    """One INT8 model and what it proved."""

    recipe: str
    gates: list[Gate]
    #: Of the gate texts, (texts, labels).
    logits: NDArray[np.float32]
    size_bytes: int
    #: How it was made, for the manifest.
    details: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether it passed all gates."""
        return not gates.failures(self.gates)


def attempts(
    quantizer: Quantizer,
    trial: Trial,
    fp32_logits: NDArray[np.float32],
    file: Path,
    fp32_bytes: int,
    pad_token_id: int,
    notify: Notify,
) -> Iterator[Attempt]:
    """Writes INT8 models to `file`, the fastest first; the last one either passed or none does.

    Args:
        quantizer: of the fp32 model.
        trial: the gate texts.
        fp32_logits: of the fp32 model on them.
        file: is overwritten by each attempt.
        fp32_bytes: size of the fp32 file.
        pad_token_id: fills short rows.
        notify: is told what happens.
    """
    for recipe in RECIPES:
        model, details = quantizer.quantize(recipe)
        ir.save(model, file)
        notify("gates", f"comparing INT8 with fp32 on {len(trial.token_ids)} texts")
        engine = OnnxEngine(file, "onnx-int8", pad_token_id)
        logits, invariance = trial.run(engine, len(trial.token_ids))
        engine.close()
        size = file.stat().st_size
        proven = gates.int8_gates(trial, fp32_logits, logits, invariance, size / fp32_bytes)
        attempt = Attempt(recipe.name, proven, logits, size, details)
        yield attempt
        if attempt.passed:
            return
        notify(
            "quantize",
            f"INT8 by {recipe.name!r} is not good enough: {gates.failures(proven)}",
        )
        if any(gate.name == _SIZE_GATE and not gate.passed for gate in proven):
            return
