"""What an exported model must prove before it is published. Owns the limits.

Values are fractions (agreement), counts (flips), logits, points of F1 (0.5 is half a point) or
fractions of bytes. A model with a NaN anywhere passes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelmill.registry import Gate
from labelmill.worker.export.decisions import agreement, f1_drops
from labelmill.worker.export.invariance import Invariance
from labelmill.worker.export.trial import Trial

#: Most noise of an INT8 model whose gate texts have no labels; see docs/decisions/0018.
NOISE = 0.06

#: Margin, in logits, below which a decision is a tie that rounding may break either way.
TIE = 2e-3

_Logits = NDArray[np.float32]


def fp32_gates(
    trial: Trial, torch_logits: _Logits, onnx_logits: _Logits, invariance: Invariance
) -> list[Gate]:
    """PyTorch to ONNX fp32: the same model, up to rounding.

    Args:
        trial: the gate texts.
        torch_logits: of the gate texts, (texts, labels).
        onnx_logits: likewise.
        invariance: of the ONNX model.
    """
    kind = trial.problem_type
    agreed = agreement(torch_logits, onnx_logits, kind, tie=TIE)
    dlogit = float(np.abs(onnx_logits - torch_logits).max())
    gates = [
        _at_least("fp32.label_agreement", agreed, 1.0),
        _at_most("fp32.max_abs_dlogit", dlogit, 1e-3),
    ]
    if trial.targets is not None:
        macro, _ = f1_drops(torch_logits, onnx_logits, trial.targets, kind)
        gates.append(_at_most("fp32.macro_f1_drop", macro, 0.1))
    return [
        *gates,
        _at_most("fp32.batch_max_abs_dlogit", invariance.max_abs_dlogit, 1e-4),
    ]


def int8_gates(
    trial: Trial,
    fp32_logits: _Logits,
    int8_logits: _Logits,
    invariance: Invariance,
    size_ratio: float,
) -> list[Gate]:
    """ONNX fp32 to INT8: another model that must decide alike.

    Where the right labels are not known, F1 says nothing, and texts from elsewhere may all get one
    label, on which any model would agree. Then the noise that quantization adds to the logits is
    bounded instead.

    Args:
        trial: the gate texts.
        fp32_logits: of the gate texts, (texts, labels).
        int8_logits: likewise.
        invariance: of the INT8 model.
        size_ratio: bytes of the INT8 file over bytes of the fp32 file.
    """
    kind = trial.problem_type
    gates = [_at_least("int8.label_agreement", agreement(fp32_logits, int8_logits, kind), 0.99)]
    if trial.targets is None:
        gates.append(_at_most("int8.noise", noise(fp32_logits, int8_logits), NOISE))
    else:
        macro, worst = f1_drops(fp32_logits, int8_logits, trial.targets, kind)
        gates += [
            _at_most("int8.macro_f1_drop", macro, 0.5),
            _at_most("int8.worst_class_f1_drop", worst, 3.0),
        ]
    return [
        *gates,
        _at_most("int8.batch_flips", invariance.flips, 0),
        _at_most("int8.batch_max_abs_dlogit", invariance.max_abs_dlogit, 1e-3),
        _at_most("int8.size_ratio", size_ratio, 0.27),
    ]


def noise(reference: _Logits, logits: _Logits) -> float:
    """Rms difference of two models' logits over how much the first's vary between texts.

    Zero for the same model, 1 and more for one that has nothing to do with it; NaN where the
    reference gives every text the same logits.

    Args:
        reference: logits of the model to agree with, (texts, labels).
        logits: of the model under test, likewise.
    """
    spread = float(np.sqrt(reference.var(axis=0, dtype=np.float64).mean()))
    difference = float(np.sqrt(np.square(logits - reference, dtype=np.float64).mean()))
    return difference / spread if spread else float("nan")


def failures(gates: Sequence[Gate]) -> str:
    """The failed gates in words; empty when all passed."""
    return ", ".join(
        f"{gate.name} is {gate.value:.4g}, not at {'least' if gate.at_least else 'most'} "
        f"{gate.limit:g}"
        for gate in gates
        if not gate.passed
    )


def _at_least(name: str, value: float, limit: float) -> Gate:
    return Gate(name=name, value=value, limit=limit, at_least=True)


def _at_most(name: str, value: float, limit: float) -> Gate:
    return Gate(name=name, value=value, limit=limit, at_least=False)
