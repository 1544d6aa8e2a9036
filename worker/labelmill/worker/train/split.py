"""Splits rows into training, validation and test, each label in its share; 70/15/15 by default.

The method is iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the
Stratification of Multi-Label Data"): the rarest label is dealt out first, each row to the part
that lacks that label most. With one label a row it is plain stratified sampling.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

#: Share of the rows that validation and test get each.
HELD_OUT_SHARE = 0.15

_PARTS = 3


class Split(NamedTuple):
    """Positions of rows, ascending; disjoint, and together all rows."""

    train: list[int]
    validation: list[int]
    test: list[int]


def split(
    label_ids: Sequence[Sequence[int]],
    labels: int,
    seed: int,
    held_out_share: float = HELD_OUT_SHARE,
) -> Split:
    """Splits rows by their labels; the same input and seed give the same split.

    With one label a row, each label's shares are exact to the row, and a label with three rows or
    more is in every part. With several that cannot always be had; the caller checks.

    Args:
        label_ids: labels of each row, one or more, in [0, labels).
        labels: how many labels there are.
        seed: of the shuffle.
        held_out_share: of the rows that validation and test get each, at most a third.
    """
    rng = random.Random(seed)  # noqa: S311
    rows_of: list[list[int]] = [[] for _ in range(labels)]
    shuffled = list(range(len(label_ids)))
    rng.shuffle(shuffled)
    for row in shuffled:
        for label in label_ids[row]:
            rows_of[label].append(row)
    wanted = [_quotas(len(rows), held_out_share) for rows in rows_of]
    total = _quotas(len(label_ids), held_out_share)
    left = [len(rows) for rows in rows_of]
    part_of: dict[int, int] = {}
    while open_labels := [label for label in range(labels) if left[label]]:
        rarest = min(open_labels, key=lambda label: (left[label], label))
        for row in rows_of[rarest]:
            if row in part_of:
                continue
            part = max(range(_PARTS), key=lambda p: (wanted[rarest][p], total[p], -p))
            part_of[row] = part
            total[part] -= 1
            for label in label_ids[row]:
                wanted[label][part] -= 1
                left[label] -= 1
    parts: list[list[int]] = [[], [], []]
    for row in range(len(label_ids)):
        parts[part_of[row]].append(row)
    return Split(*parts)


def _quotas(rows: int, share: float) -> list[int]:
    held_out = min(max(1, int(rows * share + 0.5)), rows // _PARTS)
    return [rows - 2 * held_out, held_out, held_out]
