"""Logits to answers: calibrated probabilities, the best label, UNKNOWN. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelmill.names import UNKNOWN
from labelmill.registry import Manifest
from labelmill.v1.classification_pb2 import ClassificationResult, LabelScore, ScoringOptions

#: Score from which a label of a multi-label version counts, when the version has no own thresholds.
_MULTI_LABEL_THRESHOLD = 0.5


def probabilities(logits: NDArray[np.float32], manifest: Manifest) -> NDArray[np.float32]:
    """Calibrated probabilities of shape (rows, labels).

    Softmax over labels for single-label versions, a sigmoid a label for multi-label ones, both of
    logits divided by the version's temperature (Guo et al. 2017, "On Calibration of Modern Neural
    Networks").
    """
    scaled = logits.astype(np.float64) / manifest.temperature
    if manifest.problem_type == "multi_label":
        # tanh does not overflow where exp does.
        return (0.5 * (1.0 + np.tanh(0.5 * scaled))).astype(np.float32)
    shifted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    scores: NDArray[np.float32] = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return scores


def decide(
    logits: NDArray[np.float32], manifest: Manifest, options: ScoringOptions
) -> list[ClassificationResult]:
    """One result a row of `logits`, shape (rows, labels); token counts are left to the caller."""
    scores = probabilities(logits, manifest)
    # Stable, so that equal scores keep the order of the version's labels.
    order = np.argsort(-scores, axis=1, kind="stable")
    kept = order[:, : options.top_k] if options.top_k else order
    names = manifest.labels
    results = []
    for row, ranks in enumerate(kept):
        values = scores[row]
        best = int(order[row, 0])
        results.append(
            ClassificationResult(
                label=_label(values, best, manifest, options),
                score=float(values[best]),
                scores=[LabelScore(label=names[i], score=float(values[i])) for i in ranks],
                windows=1,
            )
        )
    return results


def _label(
    scores: NDArray[np.float32], best: int, manifest: Manifest, options: ScoringOptions
) -> str:
    if manifest.problem_type == "multi_label":
        limits = (
            [options.threshold] * len(manifest.labels)
            if options.HasField("threshold")
            else manifest.label_thresholds or [_MULTI_LABEL_THRESHOLD] * len(manifest.labels)
        )
        chosen = [
            name
            for name, score, limit in zip(manifest.labels, scores, limits, strict=True)
            if score >= limit
        ]
        return "|".join(chosen) or UNKNOWN
    threshold = options.threshold if options.HasField("threshold") else manifest.threshold
    return manifest.labels[best] if scores[best] >= threshold else UNKNOWN
