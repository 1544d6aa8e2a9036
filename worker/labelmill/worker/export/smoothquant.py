"""How to quantize the linear layers that read one value: smoothing, ranges, outliers.

SmoothQuant (Xiao et al., 2023, arXiv:2211.10438) divides each channel of the activations by
s_j = max|X_j|^a / max|W_j|^(1-a) and multiplies its weights by s_j, so that one scale fits all
channels. The strength `a` that is best differs from layer to layer, so each tries a few on real
activations. A channel that no strength can tame (encoders grow a few units that fire a hundred
times the rest on [SEP] alone) is left to fp32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.export.calibration import Activations

#: Smoothing strengths tried for each group of layers.
STRENGTHS = (0.65, 0.75, 0.85, 0.95)

#: Numbers of outlier channels tried, for layers that narrow: there a column in fp32 costs least.
OUTLIERS = (0, 1, 2, 4)

#: More outlier channels must bring the error below this share of what fewer leave.
_WORTH = 0.7

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LinearPlan:
    """One group's quantization. The layers' outputs are side by side in the second axis."""

    strength: float
    #: Activations are divided by this before they are quantized, (inputs,).
    smoothing: _Floats
    #: Of the uint8 activations.
    scale: np.float32
    zero_point: np.uint8
    #: Input channels that stay fp32; their rows of `weights` are zero.
    outliers: NDArray[np.int64]
    #: int8, (inputs, outputs), with a scale for each output.
    weights: NDArray[np.int8]
    weight_scales: _Floats
    #: Mean of what quantization takes from each output, to be added to its bias, (outputs,).
    correction: _Floats
    #: Root mean square over tokens of the error relative to the token's output.
    error: float


def plan(weight: _Floats, seen: Activations, weight_max: int) -> LinearPlan:
    """Finds the strength and the outliers of least error on the sampled tokens.

    Args:
        weight: the layers' matrices side by side, (inputs, outputs).
        seen: the activations they read.
        weight_max: largest int8 weight: 127, or 63 where U8×S8 products saturate above.
    """
    target = seen.sample @ weight
    narrows = weight.shape[0] > weight.shape[1]
    peaks = np.maximum(np.abs(seen.low), np.abs(seen.high))
    by_contribution = np.argsort(-peaks * np.abs(weight).max(axis=1), kind="stable")
    best: LinearPlan | None = None
    for count in OUTLIERS if narrows else OUTLIERS[:1]:
        outliers = np.sort(by_contribution[:count]).astype(np.int64)
        tried = [
            _try(weight, seen, target, outliers, strength, weight_max) for strength in STRENGTHS
        ]
        found = min(tried, key=lambda candidate: candidate.error)
        if best is None or found.error < _WORTH * best.error:
            best = found
    assert best is not None
    return best


def _try(
    weight: _Floats,
    seen: Activations,
    target: _Floats,
    outliers: NDArray[np.int64],
    strength: float,
    weight_max: int,
) -> LinearPlan:
    smoothing = _smoothing(weight, seen, strength)
    tamed = np.ones(len(smoothing), dtype=bool)
    tamed[outliers] = False
    low = min(0.0, float((seen.low / smoothing)[tamed].min()))
    high = max(0.0, float((seen.high / smoothing)[tamed].max()))
    scale = np.float32(max(high - low, 1e-12) / 255)
    zero_point = np.uint8(np.rint(-low / scale))

    smooth = weight * smoothing[:, None]
    smooth[outliers] = 0
    peak = np.abs(smooth).max(axis=0)
    weight_scales = np.where(peak > 0, peak / weight_max, 1).astype(np.float32)
    weights = np.rint(smooth / weight_scales)

    levels = np.rint(seen.sample / (smoothing * scale))
    np.clip(levels, -np.float32(zero_point), 255 - np.float32(zero_point), out=levels)
    output = (levels @ weights) * (weight_scales * scale)
    output += seen.sample[:, outliers] @ weight[outliers]
    missing = target - output
    correction = missing.mean(axis=0)
    norms = np.maximum(np.square(target).sum(axis=1), 1e-12)
    error = float(np.sqrt((np.square(missing - correction).sum(axis=1) / norms).mean()))
    return LinearPlan(
        strength,
        smoothing,
        scale,
        zero_point,
        outliers,
        weights.astype(np.int8),
        weight_scales,
        correction,
        error,
    )


def _smoothing(weight: _Floats, seen: Activations, strength: float) -> _Floats:
    activation = np.maximum(np.maximum(np.abs(seen.low), np.abs(seen.high)), 1e-5)
    rows = np.maximum(np.abs(weight).max(axis=1), 1e-5)
    logarithm = np.log(activation) * strength - np.log(rows) * (1 - strength)
    # Only the ratios between channels matter; around 1 they keep float32 exact.
    smoothing: _Floats = np.exp(logarithm - logarithm.mean()).astype(np.float32)
    return smoothing
