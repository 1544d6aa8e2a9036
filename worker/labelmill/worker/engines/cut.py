"""Which rows to score together so that all of them take the least predicted time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.engines.cost import CostModel

#: Longest engine run of bulk work, in ms, so that an online text need not wait longer.
BULK_BATCH_MS = 25.0


class Limits(NamedTuple):
    """What no batch of two or more rows may exceed; a row that does so alone is scored alone."""

    #: Padded tokens: rows times the longest row; `Engine.max_batch_tokens`.
    tokens: int
    #: Predicted milliseconds. Twice what an empty batch costs are always allowed: where that is
    #: over the limit already, single rows would only make everybody wait longer.
    ms: float = BULK_BATCH_MS

    def rows(self, cost: CostModel, length: int) -> int:
        """Most rows of a batch whose longest has `length` tokens, at least 1."""
        a_row = cost.of_row(length)
        ms = max(self.ms - cost.batch_ms, cost.batch_ms)
        by_time = ms / a_row if a_row else self.tokens
        return max(1, int(min(self.tokens // max(1, length), by_time)))


def cut(
    lengths: Sequence[int], cost: CostModel, limits: Limits, threads: int = 1
) -> list[list[int]]:
    """Cuts rows, sorted by length, into the batches of least predicted total time.

    Args:
        lengths: tokens of each row.
        cost: of the engine that is to score them.
        limits: of each batch.
        threads: how many take batches at the same time. With more than one, batches that would
            keep one busy while others have nothing left are halved.

    Returns:
        Indices into `lengths`, every one exactly once. Batches that take longest come first, so
        that threads which share them finish together.
    """
    if len(lengths) == 1:
        return [[0]]
    tokens = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-tokens, kind="stable")
    tokens = tokens[order]
    batches = []
    start = 0
    for rows in _sizes(tokens, cost, limits):
        batches.append(_Batch(cost.of(rows, int(tokens[start])), start, rows))
        start += rows
    batches.sort(reverse=True)
    if threads > 1:
        batches = _balanced(batches, tokens, cost, threads)
    rows_in_order = order.tolist()
    return [rows_in_order[batch.start : batch.start + batch.rows] for batch in batches]


def _sizes(tokens: NDArray[np.int64], cost: CostModel, limits: Limits) -> list[int]:
    """Rows of each batch, from the longest on, of `tokens` sorted so.

    Dynamic programming from the shortest row on, over where the next batch begins. Costs are
    linear in rows, so that a batch which begins amid rows of equal length may as well be full:
    its neighbour to the left can hand it rows at no cost. Only where a length begins are all
    sizes compared, which makes the work grow with the number of lengths, not of rows.
    """
    count = len(tokens)
    begins = np.flatnonzero(np.diff(tokens, prepend=-1)).tolist()
    #: Least milliseconds of a row and all that are shorter.
    least = np.zeros(count + 1)
    full: dict[int, int] = {}
    chosen: dict[int, int] = {}
    for begin, end in zip(reversed(begins), [count, *reversed(begins[1:])], strict=True):
        length = int(tokens[begin])
        most, a_row = limits.rows(cost, length), cost.of_row(length)
        full[length] = most
        for last in range(end, begin + 1, -most):
            inside = np.arange(max(begin + 1, last - most), last)
            following = np.minimum(inside + most, count)
            least[inside] = cost.batch_ms + (following - inside) * a_row + least[following]
        sizes = np.arange(1, min(most, count - begin) + 1)
        totals = sizes * a_row + least[begin + sizes]
        best = int(np.argmin(totals))
        least[begin] = cost.batch_ms + totals[best]
        chosen[begin] = best + 1
    found = []
    start = 0
    while start < count:
        rows = chosen.get(start) or min(full[int(tokens[start])], count - start)
        found.append(rows)
        start += rows
    return found


class _Batch(NamedTuple):
    """Rows of one batch within the sorted rows; compares by its predicted time."""

    ms: float
    start: int
    rows: int


def _balanced(
    batches: list[_Batch], tokens: NDArray[np.int64], cost: CostModel, threads: int
) -> list[_Batch]:
    """`batches`, longest first, some halved so that all threads end earlier than they would."""
    # Only the last few decide who ends last.
    fixed = max(0, len(batches) - 2 * threads)
    loads = [0.0] * threads
    _finish(loads, batches[:fixed])
    tail = best = batches[fixed:]
    least, last = _finish(list(loads), tail)
    for _ in range(4 * threads):
        if last.rows == 1:
            break
        left, middle = last.rows // 2, last.start + last.rows // 2
        tail = [batch for batch in tail if batch is not last]
        for start, rows in ((last.start, left), (middle, last.rows - left)):
            tail.append(_Batch(cost.of(rows, int(tokens[start])), start, rows))
        tail.sort(reverse=True)
        ends, last = _finish(list(loads), tail)
        if ends < least:
            best, least = tail, ends
    return batches[:fixed] + best


def _finish(loads: list[float], batches: Sequence[_Batch]) -> tuple[float, _Batch]:
    """Threads that end at `loads` take one of `batches` after the other, whoever is free first.

    Changes `loads`, a heap. Returns when the batch ends that ends last, and that batch.
    """
    latest, last = 0.0, _NO_BATCH
    for batch in batches:
        ends = loads[0] + batch.ms
        heapq.heapreplace(loads, ends)
        if ends > latest:
            latest, last = ends, batch
    return latest, last


_NO_BATCH = _Batch(0.0, 0, 1)
