"""How to quantize the linear layers that read one value: smoothing, ranges, outliers.

SmoothQuant (Xiao et al., 2023, arXiv:2211.10438) divides each channel of the activations by
s_j = max|X_j|^a / max|W_j|^(1-a) and multiplies its weights by s_j, so that one scale fits all
channels. The strength `a` that is best differs from layer to layer, so each tries a few on real
activations. Channels that fire a hundred times the rest on [SEP] alone, as encoders grow a few,
are better left to fp32, and where they are, the others often need no smoothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.export.calibration import Activations

#: Smoothing strengths tried for each group of layers.
STRENGTHS = (0.65, 0.75, 0.85, 0.95)

#: Shares of the observed range tried: what lies beyond is cut off, the rest gets finer steps.
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)

#: More outlier channels must bring the error below this share of what fewer leave.
_WORTH = 0.8

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LinearPlan:
    """One group's quantization. The layers' outputs are side by side in the second axis."""

    #: None without smoothing.
    strength: float | None
    #: Activations are divided by this before they are quantized, (inputs,); None: they are not.
    smoothing: _Floats | None
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

    def read_smoothed(self) -> LinearPlan:
        """The plan for activations that something before has divided already."""
        return replace(self, smoothing=None)

    def divided(self, columns: slice, divisors: _Floats) -> LinearPlan:
        """The plan whose outputs `columns` come out divided."""
        scales, correction = self.weight_scales.copy(), self.correction.copy()
        scales[columns] /= divisors
        correction[columns] /= divisors
        return replace(self, weight_scales=scales, correction=correction)


def plan(
    weight: _Floats,
    seen: Activations,
    weight_max: int,
    *,
    smooth: bool = True,
    outliers: Sequence[int] = (0,),
) -> LinearPlan:
    """Finds the strength and the outliers of least error on the sampled tokens.

    Args:
        weight: the layers' matrices side by side, (inputs, outputs).
        seen: the activations they read.
        weight_max: largest int8 weight: 127, or 63 where U8×S8 products saturate above.
        smooth: whether to smooth.
        outliers: numbers of outlier channels to try, rising.
    """
    target = seen.sample @ weight
    peaks = np.maximum(np.abs(seen.low), np.abs(seen.high))
    # What smoothing cannot tame is large in activations and weights; without, activations count.
    worst = np.argsort(-peaks * np.abs(weight).max(axis=1) if smooth else -peaks, kind="stable")
    best: LinearPlan | None = None
    for count in outliers:
        channels = np.sort(worst[:count]).astype(np.int64)
        found = min(
            (
                _try(weight, seen, target, channels, strength, weight_max)
                for strength in (STRENGTHS if smooth else (None,))
            ),
            key=lambda candidate: candidate.error,
        )
        if best is None or found.error < _WORTH * best.error:
            best = found
    assert best is not None
    clipped = (
        _try(weight, seen, target, best.outliers, best.strength, weight_max, clip)
        for clip in CLIPS[1:]
    )
    return min([best, *clipped], key=lambda candidate: candidate.error)


def _try(
    weight: _Floats,
    seen: Activations,
    target: _Floats,
    outliers: NDArray[np.int64],
    strength: float | None,
    weight_max: int,
    clip: float = 1.0,
) -> LinearPlan:
    smoothing = (
        np.ones(len(weight), np.float32) if strength is None else _smoothing(weight, seen, strength)
    )
    tamed = np.ones(len(smoothing), dtype=bool)
    tamed[outliers] = False
    low = min(0.0, clip * float((seen.low / smoothing)[tamed].min()))
    high = max(0.0, clip * float((seen.high / smoothing)[tamed].max()))
    scale = np.float32(max(high - low, 1e-12) / 255)
    zero_point = np.uint8(np.rint(-low / scale))

    smoothed = weight * smoothing[:, None]
    smoothed[outliers] = 0
    peak = np.abs(smoothed).max(axis=0)
    weight_scales = np.where(peak > 0, peak / weight_max, 1).astype(np.float32)
    weights = np.rint(smoothed / weight_scales)

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
        None if strength is None else smoothing,
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
