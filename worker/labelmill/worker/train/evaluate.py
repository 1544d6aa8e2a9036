"""How good answers are: accuracy, F1, the table by class, the confusion matrix. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Score from which a label of a multi-label model counts, unless told otherwise.
MULTI_LABEL_THRESHOLD = 0.5


@dataclass(frozen=True)
class ClassScores:
    """One label's row of the table."""

    label: str
    precision: float
    recall: float
    f1: float
    #: Texts that carry the label.
    support: int


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one split; all but counts are fractions."""

    #: Share of texts whose label, or whole set of labels, is right.
    accuracy: float
    macro_f1: float
    weighted_f1: float
    #: Over all decisions; equals accuracy for single-label.
    micro_f1: float
    classes: list[ClassScores]
    #: Rows are the right labels, columns the answers; None for multi-label.
    confusion: list[list[int]] | None
    texts: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def predict(
    probabilities: NDArray[Any], multi_label: bool, thresholds: Sequence[float] | None = None
) -> NDArray[Any]:
    """Decisions: int64 (texts,) or bool (texts, labels), from (texts, labels)."""
    if not multi_label:
        best: NDArray[np.int64] = probabilities.argmax(axis=1)
        return best
    limits = MULTI_LABEL_THRESHOLD if thresholds is None else np.asarray(thresholds)
    decided: NDArray[np.bool_] = probabilities >= limits
    return decided


def evaluate(
    probabilities: NDArray[Any],
    targets: NDArray[Any],
    labels: Sequence[str],
    multi_label: bool,
    thresholds: Sequence[float] | None = None,
) -> Evaluation:
    """Compares answers with targets.

    Args:
        probabilities: (texts, labels); for single-label any scores in the same order will do.
        targets: int64 (texts,) or, for multi-label, bool (texts, labels).
        labels: names, in the order of the columns.
        multi_label: whether a text may have several labels.
        thresholds: of each label, for multi-label; 0.5 otherwise.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    answers = predict(probabilities, multi_label, thresholds)
    every = np.arange(len(labels))
    kwargs: dict[str, Any] = {"labels": every, "zero_division": 0}
    precision, recall, f1, support = precision_recall_fscore_support(targets, answers, **kwargs)
    right = answers == targets
    _, _, micro, _ = precision_recall_fscore_support(targets, answers, average="micro", **kwargs)
    return Evaluation(
        accuracy=float((right.all(axis=1) if multi_label else right).mean()),
        macro_f1=float(f1.mean()),
        weighted_f1=float(np.average(f1, weights=support) if support.sum() else 0.0),
        micro_f1=float(micro),
        classes=[
            ClassScores(label, float(p), float(r), float(f), int(n))
            for label, p, r, f, n in zip(labels, precision, recall, f1, support, strict=True)
        ],
        confusion=(
            None if multi_label else confusion_matrix(targets, answers, labels=every).tolist()
        ),
        texts=len(targets),
    )
