"""What runs next: online work first, by deadline; bulk batches in the gaps. No timer.

While one batch runs, the next one gathers: a thread that becomes free takes what is there.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque

from labelmill.worker.engines.cut import cut
from labelmill.worker.work import Batch, Part, Work

#: Bulk gets a batch of at most engines.cut.BULK_BATCH_MS when it has waited this long, in s, so
#: that endless online work leaves it about a tenth of a thread.
BULK_PATIENCE_S = 0.25


class _Pending:
    """Rows of an online work that no batch has taken yet, in batches as they would be alone."""

    def __init__(self, work: Work, threads: int) -> None:
        self.work = work
        self.lengths = [len(tokens.ids) for tokens in work.tokens]
        model = work.model
        #: Never empty ones; rows within each from the longest on.
        self.batches = deque(cut(self.lengths, model.cost, model.limits, threads))

    def rows(self) -> int:
        """How many are left."""
        return sum(map(len, self.batches))


class _Filling:
    """A batch that takes in rows of others where that takes less time than running them apart."""

    def __init__(self, pending: _Pending) -> None:
        model = pending.work.model
        self._cost, self._limits = model.cost, model.limits
        rows = pending.batches.popleft()
        self._count, self._longest = len(rows), pending.lengths[rows[0]]
        self.parts = [Part(pending.work, rows)]

    def is_full(self) -> bool:
        """Whether not even a row that needs no padding fits."""
        return self._count >= self._limits.rows(self._cost, self._longest)

    def take_from(self, pending: _Pending) -> None:
        """Takes as many rows of the next batch of `pending`, from the longest on, as gain most."""
        rows, cost = pending.batches[0], self._cost
        lengths = [pending.lengths[row] for row in rows]
        longest = max(self._longest, lengths[0])
        least = cost.of(self._count, self._longest) + cost.of(len(rows), lengths[0])
        taken = 0
        for count in range(1, min(len(rows), self._limits.rows(cost, longest) - self._count) + 1):
            together = cost.of(self._count + count, longest)
            if left := lengths[count:]:
                together += cost.of(len(left), left[0])
            if together < least:
                taken, least = count, together
        if not taken:
            return
        self._count, self._longest = self._count + taken, longest
        self.parts.append(Part(pending.work, rows[:taken]))
        pending.batches[0] = rows[taken:]
        if not pending.batches[0]:
            pending.batches.popleft()


class Scheduler:
    """Two lanes in, batches out. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._online: list[tuple[int, int, _Pending]] = []
        self._order = itertools.count()
        self._bulk: deque[Batch] = deque()
        self._bulk_served = time.monotonic()
        self._closed = False
        self._idle = 0

    def put_online(self, work: Work, deadline_ms: int) -> None:
        """Adds a request; earlier deadlines run first."""
        pending = _Pending(work, max(1, self.idle()))
        with self._changed:
            heapq.heappush(self._online, (deadline_ms, next(self._order), pending))
            self._changed.notify_all()

    def put_bulk(self, work: Work) -> None:
        """Adds a chunk, cut into the batches of least predicted time."""
        lengths = [len(tokens.ids) for tokens in work.tokens]
        cuts = cut(lengths, work.model.cost, work.model.limits, max(1, self.idle()))
        batches = [Batch(work.model, [Part(work, rows)]) for rows in cuts]
        with self._changed:
            if not self._bulk:
                self._bulk_served = time.monotonic()
            self._bulk.extend(batches)
            self._changed.notify_all()

    def idle(self) -> int:
        """Threads that wait for work."""
        with self._changed:
            return self._idle

    def next(self) -> Batch | None:
        """The next batch, waiting for one; None once closed and empty."""
        with self._changed:
            while not (self._online or self._bulk):
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            if self._bulk and (not self._online or self._bulk_is_due()):
                self._bulk_served = time.monotonic()
                self._changed.notify_all()
                return self._bulk.popleft()
            return self._gather()

    def _bulk_is_due(self) -> bool:
        return time.monotonic() - self._bulk_served > BULK_PATIENCE_S

    def _gather(self) -> Batch:
        """Rows of the most urgent work, and of others of its model that take less time with it."""
        most_urgent = heapq.heappop(self._online)
        filling = _Filling(most_urgent[2])
        model = most_urgent[2].work.model
        seen = [most_urgent]
        while self._online and not filling.is_full():
            entry = heapq.heappop(self._online)
            seen.append(entry)
            if entry[2].work.model is model:
                filling.take_from(entry[2])
        for entry in seen:
            if entry[2].batches:
                heapq.heappush(self._online, entry)
        return Batch(model, filling.parts)

    def wait_for_bulk_room(self, batches: int, timeout_s: float) -> bool:
        """Waits until fewer than `batches` bulk batches wait; False when that did not happen."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._bulk) < batches, timeout_s)

    def online_rows(self) -> int:
        """Online texts that wait."""
        with self._changed:
            return sum(entry[2].rows() for entry in self._online)

    def close(self) -> None:
        """Lets `next` return None once everything put in was taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
