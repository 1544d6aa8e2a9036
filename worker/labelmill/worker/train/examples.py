"""The rows of a data set made ready to train on: each text once, with one set of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelmill.registry.dataset_check import LEAST_ROWS_PER_LABEL, DatasetMeta
from labelmill.registry.dataset_file import bad_data, read_rows, split_labels

#: Labels with fewer texts than this get a warning: their figures on the test set mean little.
FEW_TEXTS = 30

#: Texts and labels quoted in one message.
_QUOTED = 3


@dataclass(frozen=True)
class Examples:
    """Texts and their labels."""

    texts: list[str]
    #: Per text, positions in `labels`; exactly one each unless `multi_label`.
    label_ids: list[tuple[int, ...]]
    #: Sorted names, in the order of the logits.
    labels: list[str]
    multi_label: bool
    #: What was dropped or looks odd, in sentences.
    warnings: list[str] = field(default_factory=list)
    duplicates: int = 0
    conflicts: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def targets(self, rows: Sequence[int]) -> NDArray[np.int64] | NDArray[np.bool_]:
        """Of `rows`: int64 (rows,) for single-label, bool (rows, labels) for multi-label."""
        if not self.multi_label:
            return np.array([self.label_ids[row][0] for row in rows], dtype=np.int64)
        hot = np.zeros((len(rows), len(self.labels)), dtype=np.bool_)
        for at, row in enumerate(rows):
            hot[at, list(self.label_ids[row])] = True
        return hot

    def texts_of(self, rows: Sequence[int]) -> list[str]:
        """Texts of `rows`."""
        return [self.texts[row] for row in rows]


def read_examples(path: Path, meta: DatasetMeta) -> Examples:
    """Reads a data set, dropping repeated texts.

    A text that comes with different labels keeps the most frequent ones; on a draw it is dropped,
    as nobody can tell which is right.

    Raises:
        DatasetError: the file is malformed, or a label has too few distinct texts left.
    """
    votes: dict[str, Counter[tuple[str, ...]]] = {}
    rows = 0
    for row in read_rows(path, meta.format, meta.text_column, meta.label_column):
        if row.text:
            rows += 1
            labels = tuple(sorted(split_labels(row.label)))
            votes.setdefault(row.text, Counter())[labels] += 1
    chosen = {text: _winner(counter) for text, counter in votes.items()}
    kept = {text: labels for text, labels in chosen.items() if labels is not None}
    conflicting = [text for text, counter in votes.items() if len(counter) > 1]
    names = [count.label for count in meta.labels]
    counts = Counter(label for labels in kept.values() for label in labels)
    _check_counts(names, counts)
    position = {label: i for i, label in enumerate(sorted(names))}
    return Examples(
        texts=list(kept),
        label_ids=[tuple(position[label] for label in labels) for labels in kept.values()],
        labels=sorted(names),
        multi_label=meta.multi_label,
        warnings=_warnings(meta, rows - len(votes), conflicting, len(chosen) - len(kept), counts),
        duplicates=rows - len(votes),
        conflicts=len(conflicting),
    )


def _winner(votes: Counter[tuple[str, ...]]) -> tuple[str, ...] | None:
    first, *rest = votes.most_common(2)
    if rest and rest[0][1] == first[1]:
        return None
    return first[0]


def _check_counts(names: list[str], counts: Counter[str]) -> None:
    rare = [name for name in names if counts[name] < LEAST_ROWS_PER_LABEL]
    if rare:
        named = ", ".join(f"{name!r} ({counts[name]})" for name in rare[:_QUOTED])
        raise bad_data(
            f"too few distinct texts of {named} once repeated and contradictory rows are dropped; "
            f"each label needs at least {LEAST_ROWS_PER_LABEL}: add rows, merge the label with "
            "another or leave it out"
        )


def _warnings(
    meta: DatasetMeta,
    duplicates: int,
    conflicting: list[str],
    dropped: int,
    counts: Counter[str],
) -> list[str]:
    warnings = []
    if meta.empty_texts:
        warnings.append(f"{meta.empty_texts} rows have no text and were skipped.")
    if duplicates:
        warnings.append(
            f"{duplicates} rows repeat a text and were dropped: no test text may be trained on."
        )
    if conflicting:
        quoted = "; ".join(repr(text[:80]) for text in conflicting[:_QUOTED])
        warnings.append(
            f"{len(conflicting)} texts come with different labels; the most frequent one counts, "
            f"{dropped} with a draw were dropped. Relabel them: {quoted}"
        )
    few = [f"{label!r} ({n})" for label, n in sorted(counts.items()) if n < FEW_TEXTS]
    if few:
        more = f" and {len(few) - _QUOTED} more" if len(few) > _QUOTED else ""
        warnings.append(
            f"Fewer than {FEW_TEXTS} texts of {', '.join(few[:_QUOTED])}{more}: their figures on "
            "the test set will say little."
        )
    return warnings
