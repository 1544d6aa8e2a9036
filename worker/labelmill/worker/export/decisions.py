"""From logits to labels, and how much two models' labels differ."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

ProblemType = Literal["single_label", "multi_label"]


def decide(logits: NDArray[np.float32], problem_type: ProblemType) -> NDArray[np.bool_]:
    """Labels given to each text, as booleans of shape (texts, labels).

    Single-label: the largest logit. Multi-label: every label with sigmoid over 0.5.
    """
    if problem_type == "multi_label":
        return logits > 0
    best: NDArray[np.bool_] = np.arange(logits.shape[1]) == logits.argmax(axis=1, keepdims=True)
    return best


def agreement(
    reference: NDArray[np.float32],
    logits: NDArray[np.float32],
    problem_type: ProblemType,
    tie: float = 0.0,
) -> float:
    """Share of texts that get the same label, or the same set of labels; NaN for broken logits.

    Args:
        reference: logits of the model to agree with, (texts, labels).
        logits: of the model under test, likewise.
        problem_type: how logits become labels.
        tie: a disagreement counts only where the reference decides by at least this, in logits.
    """
    if not (np.isfinite(reference).all() and np.isfinite(logits).all()):
        return float("nan")
    differs = decide(reference, problem_type) != decide(logits, problem_type)
    if problem_type == "multi_label":
        margin = np.abs(reference)
    else:
        top = np.sort(reference, axis=1)
        margin = top[:, -1:] - top[:, -2:-1]
    return float(1.0 - (differs & (margin >= tie)).any(axis=1).mean())


def f1_drops(
    reference: NDArray[np.float32],
    logits: NDArray[np.float32],
    targets: NDArray[np.bool_],
    problem_type: ProblemType,
) -> tuple[float, float]:
    """Points of F1 lost from `reference` to `logits`: (macro, worst class); NaN for broken logits.

    A class in which only one text changed does not count as the worst: where a class has thirty
    texts, one tie that rounding broke costs it three points.

    Args:
        reference: logits of the model to compare with, (texts, labels).
        logits: of the model under test, likewise.
        targets: right labels, booleans (texts, labels).
        problem_type: how logits become labels.
    """
    if not (np.isfinite(reference).all() and np.isfinite(logits).all()):
        return float("nan"), float("nan")
    before, after = decide(reference, problem_type), decide(logits, problem_type)
    drops = 100.0 * (_f1(before, targets) - _f1(after, targets))
    counted = drops[(before != after).sum(axis=0) > 1]
    return float(drops.mean()), float(counted.max(initial=0.0))


def _f1(given: NDArray[np.bool_], targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = f1_score(targets, given, average=None, zero_division=0.0)
    return scores
