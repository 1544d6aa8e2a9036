"""The figures of a finished model: on the test split as each engine serves it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.train.calibrate import (
    Calibration,
    expected_calibration_error,
    negative_log_likelihood,
    probabilities,
)
from labelmill.worker.train.evaluate import Evaluation, evaluate


@dataclass(frozen=True)
class UnknownFigures:
    """What the threshold does to the test texts; shares of all of them, or accuracy."""

    #: Texts that get a label.
    coverage: float
    #: Of the texts that get a label; None when none does.
    accuracy_answered: float | None
    #: Right answers that UNKNOWN takes the place of.
    withheld_right: float
    #: Wrong answers that UNKNOWN takes the place of.
    withheld_wrong: float


@dataclass(frozen=True)
class Outcome:
    """One engine on the test split."""

    evaluation: Evaluation
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    #: None for multi-label.
    unknown: UnknownFigures | None


def judge(
    logits: NDArray[np.float32],
    targets: NDArray[Any],
    labels: Sequence[str],
    calibration: Calibration,
) -> Outcome:
    """Evaluates an engine's logits (texts, labels) on the test split."""
    multi_label = targets.ndim == 2
    raw = probabilities(logits, 1.0, multi_label)
    scores = probabilities(logits, calibration.temperature, multi_label)
    return Outcome(
        evaluation=evaluate(scores, targets, labels, multi_label, calibration.label_thresholds),
        nll_before=negative_log_likelihood(logits, targets, 1.0),
        nll_after=negative_log_likelihood(logits, targets, calibration.temperature),
        ece_before=expected_calibration_error(raw, targets),
        ece_after=expected_calibration_error(scores, targets),
        unknown=None if multi_label else _unknown(scores, targets, calibration.threshold),
    )


def _unknown(
    scores: NDArray[np.float64], targets: NDArray[Any], threshold: float
) -> UnknownFigures:
    answered = scores.max(axis=1) >= threshold
    right = scores.argmax(axis=1) == targets
    return UnknownFigures(
        coverage=float(answered.mean()),
        accuracy_answered=float(right[answered].mean()) if answered.any() else None,
        withheld_right=float((right & ~answered).mean()),
        withheld_wrong=float((~right & ~answered).mean()),
    )
