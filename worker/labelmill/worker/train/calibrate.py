"""Turns logits into probabilities to decide on: temperature, and the thresholds of UNKNOWN.

Everything here is chosen on the validation split and only then looked at on the test split. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.train.evaluate import MULTI_LABEL_THRESHOLD

#: Share of the right answers on the validation split that the threshold may withhold.
_WITHHELD_SHARE = 0.03

#: Bins of the expected calibration error.
_ECE_BINS = 15

#: Highest threshold: a calibrated score above it is no doubt, however sure the others are.
_HIGHEST_THRESHOLD = 0.95

#: Temperatures searched.
_TEMPERATURES = (0.05, 20.0)

#: Standard deviation of log temperature before seeing any text. Where all validation texts are
#: right, or there are few, likelihood alone would drive the temperature to an extreme.
_PRIOR_DEVIATION = 0.5

#: Folds to see whether a temperature helps on texts that it was not fitted on.
_FOLDS = 5

#: A label needs this many texts in the validation split for a threshold of its own.
_TEXTS_FOR_THRESHOLD = 10

#: Thresholds tried for a label.
_THRESHOLDS = np.linspace(0.1, 0.9, 81)


@dataclass(frozen=True)
class Calibration:
    """What makes a version's scores fit to decide on."""

    temperature: float
    #: UNKNOWN below it; 0 for multi-label.
    threshold: float
    #: By label, for multi-label only.
    label_thresholds: list[float] | None
    validation_nll_before: float
    validation_nll_after: float


def probabilities(
    logits: NDArray[np.float32], temperature: float, multi_label: bool
) -> NDArray[np.float64]:
    """Softmax, or for multi-label sigmoid, of logits over temperature: (texts, labels)."""
    scaled = logits.astype(np.float64) / temperature
    if multi_label:
        return 0.5 * (1.0 + np.tanh(0.5 * scaled))
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def negative_log_likelihood(
    logits: NDArray[np.float32], targets: NDArray[np.generic], temperature: float
) -> float:
    """Mean over texts, in nats; for multi-label (targets of two dimensions) over labels too."""
    scaled = logits.astype(np.float64) / temperature
    if targets.ndim == 2:
        return float(np.mean(np.logaddexp(0.0, np.where(targets, -scaled, scaled))))
    log_sum = np.logaddexp.reduce(scaled, axis=1)
    return float(np.mean(log_sum - scaled[np.arange(len(scaled)), targets.astype(np.int64)]))


def expected_calibration_error(
    scores: NDArray[np.float64], targets: NDArray[np.generic], bins: int = _ECE_BINS
) -> float:
    """Gap between confidence and accuracy, averaged over equal-width bins (Naeini et al. 2015).

    Args:
        scores: probabilities, (texts, labels).
        targets: int64 (texts,): the top label counts; or bool (texts, labels): every label counts.
        bins: how many.
    """
    if targets.ndim == 2:
        confidence, right = scores.ravel(), targets.astype(bool).ravel()
    else:
        confidence, right = scores.max(axis=1), scores.argmax(axis=1) == targets
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = np.bincount(bin_of, weights=right.astype(float) - confidence, minlength=bins)
    return float(np.abs(sums).sum() / len(confidence))


def calibrate(logits: NDArray[np.float32], targets: NDArray[np.generic]) -> Calibration:
    """Chooses temperature and thresholds on the validation split.

    The temperature is kept only where, fitted on four fifths, it lowers the likelihood loss of the
    last fifth too; otherwise it is 1. The threshold is the highest, up to 0.95, that withholds at
    most 3% of the right answers: what a text in doubt looks like differs from model to model, what
    users give up for being told so should not. A label of a multi-label version gets the threshold
    with the best F1 where it has texts enough to tell, else 0.5.

    Args:
        logits: (texts, labels) of the engine that serves by default.
        targets: int64 (texts,) or, for multi-label, bool (texts, labels).
    """
    multi_label = targets.ndim == 2
    before = negative_log_likelihood(logits, targets, 1.0)
    temperature = _fit(logits, targets) if _helps(logits, targets) else 1.0
    scores = probabilities(logits, temperature, multi_label)
    return Calibration(
        temperature=temperature,
        threshold=0.0 if multi_label else _threshold(scores, targets),
        label_thresholds=_label_thresholds(scores, targets) if multi_label else None,
        validation_nll_before=before,
        validation_nll_after=negative_log_likelihood(logits, targets, temperature),
    )


def _fit(logits: NDArray[np.float32], targets: NDArray[np.generic]) -> float:
    from scipy.optimize import minimize_scalar

    def cost(log_temperature: float) -> float:
        loss = negative_log_likelihood(logits, targets, float(np.exp(log_temperature)))
        return len(logits) * loss + 0.5 * (log_temperature / _PRIOR_DEVIATION) ** 2

    low, high = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(cost, bounds=(low, high), method="bounded").x))


def _helps(logits: NDArray[np.float32], targets: NDArray[np.generic]) -> bool:
    if len(logits) < _FOLDS:
        return False
    fold_of = np.arange(len(logits)) % _FOLDS
    gain = 0.0
    for fold in range(_FOLDS):
        held_out = fold_of == fold
        temperature = _fit(logits[~held_out], targets[~held_out])
        before = negative_log_likelihood(logits[held_out], targets[held_out], 1.0)
        after = negative_log_likelihood(logits[held_out], targets[held_out], temperature)
        gain += (before - after) * held_out.sum()
    return gain > 0.0


def _threshold(scores: NDArray[np.float64], targets: NDArray[np.generic]) -> float:
    confidence = np.sort(scores.max(axis=1)[scores.argmax(axis=1) == targets])
    if len(confidence) == 0:
        return 0.0
    # The score of the first right answer that stays is the highest threshold that keeps it.
    return min(_HIGHEST_THRESHOLD, float(confidence[int(_WITHHELD_SHARE * len(confidence))]))


def _label_thresholds(scores: NDArray[np.float64], targets: NDArray[np.generic]) -> list[float]:
    chosen = []
    for column, right in zip(scores.T, targets.astype(bool).T, strict=True):
        if right.sum() < _TEXTS_FOR_THRESHOLD:
            chosen.append(MULTI_LABEL_THRESHOLD)
            continue
        given = column[:, None] >= _THRESHOLDS
        hits = (given & right[:, None]).sum(axis=0)
        f1 = 2.0 * hits / (given.sum(axis=0) + right.sum())
        # Of equally good thresholds the one nearest to one half.
        ties = np.flatnonzero(f1 == f1.max())
        chosen.append(float(_THRESHOLDS[ties[np.abs(_THRESHOLDS[ties] - 0.5).argmin()]]))
    return chosen
