"""The threads that run engines. They take batches, and never touch Redis but to drop late work."""

from __future__ import annotations

import logging
import threading
import time

from labelmill.worker.padding import PaddingCounter
from labelmill.worker.scheduler import Scheduler
from labelmill.worker.work import Batch, Part

_log = logging.getLogger(__name__)

#: Work older than this asks whether anybody still wants it before it is computed, in s.
_STALE_S = 0.05

#: An engine call that runs longer counts as hung, in s: leases are no longer renewed then.
_HUNG_S = 30.0


class ComputeThreads:
    """As many threads as usable cores, fed by one scheduler.

    Args:
        scheduler: where batches come from; closing it ends the threads.
        count: threads.
    """

    def __init__(self, scheduler: Scheduler, count: int) -> None:
        self._scheduler = scheduler
        #: Of all batches scored.
        self.padding = PaddingCounter()
        self._busy_since: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(index,), name=f"compute-{index}", daemon=True)
            for index in range(count)
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def join(self, timeout_s: float) -> bool:
        """Waits for the threads to end after the scheduler was closed; False when some did not."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def hung(self) -> bool:
        """Whether an engine call runs for longer than any batch should."""
        now = time.monotonic()
        return any(now - since > _HUNG_S for since in list(self._busy_since.values()))

    def _run(self, index: int) -> None:
        while (batch := self._scheduler.next()) is not None:
            batch = self._without_the_unwanted(batch)
            if not batch.parts:
                continue
            self._busy_since[index] = time.monotonic()
            try:
                self._score(batch)
            finally:
                del self._busy_since[index]

    def _without_the_unwanted(self, batch: Batch) -> Batch:
        return Batch(batch.model, [part for part in batch.parts if self._is_wanted(part)])

    def _is_wanted(self, part: Part) -> bool:
        work = part.work
        late = time.monotonic() - work.taken_at > _STALE_S
        if not work.cancelled and late and not work.wanted() and work.drop():
            work.done(work, None)
        return not work.cancelled

    def _score(self, batch: Batch) -> None:
        rows = batch.token_ids()
        started = time.perf_counter()
        try:
            logits = batch.model.engine.infer(rows)
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; each work is told
            _log.exception("%s failed on a batch of %d texts", batch.model.name, len(rows))
            for part in batch.parts:
                if part.work.drop():
                    part.work.done(part.work, error)
            return
        ms = (time.perf_counter() - started) * 1000
        self.padding.add([len(row) for row in rows])
        start = 0
        for part in batch.parts:
            end = start + len(part.rows)
            if part.work.fill(part.rows, logits[start:end], ms, len(rows)):
                part.work.done(part.work, None)
            start = end
