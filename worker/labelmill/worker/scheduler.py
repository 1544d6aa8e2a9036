"""What runs next: online work first, by deadline; bulk batches in the gaps. No timer.

While one batch runs, the next one gathers: a thread that becomes free takes what is there.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque

from labelmill.worker.engines.batches import MAX_PADDED_TOKENS, plan
from labelmill.worker.work import Batch, Part, Work

#: Bulk gets a batch of at most models.BULK_BATCH_MS when it has waited this long, in s, so that
#: endless online work leaves it about a tenth of a thread.
BULK_PATIENCE_S = 0.25


class _Pending:
    """Rows of an online work that no batch has taken yet, longest first."""

    def __init__(self, work: Work) -> None:
        self.work = work
        lengths = [len(tokens.ids) for tokens in work.tokens]
        self.rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        self.lengths = lengths


class Scheduler:
    """Two lanes in, batches out. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._online: list[tuple[int, int, _Pending]] = []
        self._order = itertools.count()
        self._bulk: deque[Batch] = deque()
        self._bulk_served = time.monotonic()
        self._closed = False

    def put_online(self, work: Work, deadline_ms: int) -> None:
        """Adds a request; earlier deadlines run first."""
        with self._changed:
            entry = (deadline_ms, next(self._order), _Pending(work))
            heapq.heappush(self._online, entry)
            self._changed.notify_all()

    def put_bulk(self, work: Work) -> None:
        """Adds a chunk, cut into batches of similar length."""
        lengths = [len(tokens.ids) for tokens in work.tokens]
        batches = [
            Batch(work.model, [Part(work, rows)]) for rows in plan(lengths, work.model.batch_tokens)
        ]
        with self._changed:
            if not self._bulk:
                self._bulk_served = time.monotonic()
            self._bulk.extend(batches)
            self._changed.notify_all()

    def next(self) -> Batch | None:
        """The next batch, waiting for one; None once closed and empty."""
        with self._changed:
            while not (self._online or self._bulk):
                if self._closed:
                    return None
                self._changed.wait()
            if self._bulk and (not self._online or self._bulk_is_due()):
                self._bulk_served = time.monotonic()
                self._changed.notify_all()
                return self._bulk.popleft()
            return self._gather()

    def _bulk_is_due(self) -> bool:
        return time.monotonic() - self._bulk_served > BULK_PATIENCE_S

    def _gather(self) -> Batch:
        """Rows of the most urgent work, filled up with others of its model that fit."""
        model = self._online[0][2].work.model
        parts: list[Part] = []
        rows_so_far, longest = 0, 0
        passed_over = []
        while self._online:
            entry = heapq.heappop(self._online)
            pending = entry[2]
            if pending.work.model is not model:
                passed_over.append(entry)
                continue
            width = max(longest, pending.lengths[pending.rows[0]])
            room = MAX_PADDED_TOKENS // width - rows_so_far
            if room < 1 and parts:
                passed_over.append(entry)
                break
            count = max(1, min(room, len(pending.rows)))
            parts.append(Part(pending.work, pending.rows[:count]))
            rows_so_far, longest = rows_so_far + count, width
            del pending.rows[:count]
            if pending.rows:
                passed_over.append(entry)
                break
        for entry in passed_over:
            heapq.heappush(self._online, entry)
        return Batch(model, parts)

    def wait_for_bulk_room(self, batches: int, timeout_s: float) -> bool:
        """Waits until fewer than `batches` bulk batches wait; False when that did not happen."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._bulk) < batches, timeout_s)

    def online_rows(self) -> int:
        """Online texts that wait."""
        with self._changed:
            return sum(len(entry[2].rows) for entry in self._online)

    def close(self) -> None:
        """Lets `next` return None once everything put in was taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
