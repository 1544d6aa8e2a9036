"""The training loss: cross-entropy, or binary cross-entropy a label for multi-label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


class ClassificationLoss:
    """Trainer's ``compute_loss_func``: a mean over the texts of an optimizer step.

    Args:
        weights: one a label, or None to weigh all alike.
        label_smoothing: share of the target that is spread over all labels.
    """

    def __init__(self, weights: NDArray[np.float32] | None, label_smoothing: float) -> None:
        self._weights = None if weights is None else torch.from_numpy(weights)
        self._label_smoothing = label_smoothing

    def __call__(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: torch.Tensor,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of one batch.

        Args:
            outputs: has ``logits`` of shape (texts, labels).
            targets: int64 (texts,) or float (texts, labels).
            num_items_in_batch: targets in all batches of the step; those of this one if None.
        """
        logits = outputs["logits"].float()
        weights = None if self._weights is None else self._weights.to(logits.device)
        count: Any = targets.numel() if num_items_in_batch is None else num_items_in_batch
        if targets.ndim == 1:
            total = functional.cross_entropy(
                logits,
                targets,
                weights,
                label_smoothing=self._label_smoothing,
                reduction="sum",
            )
        else:
            smooth = targets * (1.0 - self._label_smoothing) + 0.5 * self._label_smoothing
            total = functional.binary_cross_entropy_with_logits(
                logits, smooth, weights, reduction="sum"
            )
        mean: torch.Tensor = total / count
        return mean


def class_weights(targets: NDArray[Any], labels: int) -> NDArray[np.float32]:
    """Inverse frequencies, scaled so that the average text of the training split weighs 1."""
    counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=labels)
    present = np.maximum(counts, 1)
    weights: NDArray[np.float32] = (present.sum() / (labels * present)).astype(np.float32)
    return weights
