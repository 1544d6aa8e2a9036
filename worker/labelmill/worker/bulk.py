"""The bulk side of a worker: leases chunks, keeps them alive, commits their results."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from labelmill.errors import LabelmillError
from labelmill.queue.connection import TRANSIENT
from labelmill.queue.leases import Lease, Leases
from labelmill.v1.classification_pb2 import ClassificationResult, ItemError
from labelmill.v1.scoring_pb2 import ScoringItem, ScoringResult
from labelmill.worker.compute import ComputeThreads
from labelmill.worker.finisher import Finisher
from labelmill.worker.loops import RedisLoop
from labelmill.worker.models import LoadedModel, ModelCache
from labelmill.worker.results import results_of
from labelmill.worker.scheduler import Scheduler
from labelmill.worker.work import Work

_log = logging.getLogger(__name__)

#: Seconds between beats. A lease lives labelmill.queue.leases.LEASE_MS; a cancelled job's chunks
#: stop at their next beat.
BEAT_S = 4.0

#: Waiting bulk batches a thread below which the next chunk is leased.
_READY_BATCHES = 4

#: Seconds one wait for the bell lasts.
_BELL_S = 1.0

_EMPTY = ItemError(
    reason="EMPTY_TEXT", message="the text is empty or blank; there is nothing to score"
)


class BulkIntake:
    """Leases chunks while compute has room, and commits them.

    Args:
        leases: the queue.
        pools: engine families served here.
        threads: compute threads, for how much to hold ready.
    """

    def __init__(
        self,
        leases: Leases,
        models: ModelCache,
        scheduler: Scheduler,
        finisher: Finisher,
        compute: ComputeThreads,
        *,
        pools: Sequence[str],
        threads: int,
    ) -> None:
        self._leases = leases
        self._models = models
        self._scheduler = scheduler
        self._finisher = finisher
        self._compute = compute
        self._pools = list(pools)
        self._ready = _READY_BATCHES * threads
        self._held: dict[str, tuple[Lease, Work | None]] = {}
        self._lock = threading.Lock()
        self.beater = RedisLoop("beat", self._beat, every_s=BEAT_S)

    def step(self) -> None:
        """Leases the next chunk or waits for one; called again and again by one thread."""
        if not self._scheduler.wait_for_bulk_room(self._ready, _BELL_S):
            return
        lease = self._leases.lease(self._pools)
        if lease is None:
            self._leases.wait(self._pools, _BELL_S)
            return
        with self._lock:
            self._held[lease.token] = (lease, None)
        try:
            self._accept(lease)
        except BaseException as error:
            failed = not isinstance(error, TRANSIENT)
            self._finisher.put(lambda: self._send_back(lease, failed=failed))
            raise

    def _accept(self, lease: Lease) -> None:
        items = self._leases.read(lease)
        if items is None:
            self._forget(lease)
            return
        if lease.exhausted:
            self._give_up_on(lease, items)
            return
        job = lease.job
        try:
            model = self._models.get(job.model, job.version, job.engine)
        except LabelmillError as error:
            # No text of the job is at fault, and another try would not help.
            _log.error("job %s failed: %s", job.id, error.message)
            self._leases.fail_job(job, error.reason, error.message)
            self._leases.release(lease, "RETURNED")
            self._forget(lease)
            return
        self._schedule(lease, items, model)

    def _give_up_on(self, lease: Lease, items: list[ScoringItem]) -> None:
        """Bisects a chunk that failed too often; names the text once it is alone."""
        if len(items) > 1:
            _log.warning("job %s: splitting chunk %d", lease.job.id, lease.chunk)
            self._leases.split(lease, items)
        else:
            lost = lease.losses > lease.errors
            error = ItemError(
                reason="WORKER_LOST" if lost else "ENGINE_FAILED",
                message="workers were lost again and again while they scored this text"
                if lost
                else "the engine failed on this text again and again; the worker's log has why",
            )
            _log.error("job %s: text %d given up, %s", lease.job.id, lease.chunk, error.reason)
            row = ScoringResult(
                index=lease.chunk, id=items[0].id, result=ClassificationResult(error=error)
            )
            self._leases.commit(lease, [row], 0)
        self._forget(lease)

    def _schedule(self, lease: Lease, items: list[ScoringItem], model: LoadedModel) -> None:
        scored = [position for position, item in enumerate(items) if item.text.strip()]
        started = time.perf_counter()
        tokens = model.tokenizer.encode([items[position].text for position in scored])
        work = Work(
            model,
            tokens,
            done=lambda work, error: self._finish(lease, items, scored, work, error),
            wanted=lambda: True,
            tokenize_ms=(time.perf_counter() - started) * 1000,
        )
        with self._lock:
            self._held[lease.token] = (lease, work)
        if scored:
            self._scheduler.put_bulk(work)
        else:
            self._finish(lease, items, scored, work, None)

    def _finish(
        self,
        lease: Lease,
        items: list[ScoringItem],
        scored: list[int],
        work: Work,
        error: Exception | None,
    ) -> None:
        if error is not None:
            self._finisher.put(lambda: self._send_back(lease, failed=True))
        elif work.cancelled:
            self._finisher.put(lambda: self._send_back(lease, failed=False))
        else:
            self._finisher.put(lambda: self._commit(lease, items, scored, work))

    def _commit(
        self, lease: Lease, items: list[ScoringItem], scored: list[int], work: Work
    ) -> None:
        answers = dict(zip(scored, results_of(work, lease.job.options), strict=True))
        rows = [
            ScoringResult(
                index=lease.chunk + position,
                id=item.id,
                result=answers.get(position) or ClassificationResult(error=_EMPTY),
            )
            for position, item in enumerate(items)
        ]
        tokens = sum(len(row.ids) for row in work.tokens)
        if self._leases.commit(lease, rows, tokens) == "STALE":
            _log.warning("job %s: lease of chunk %d was lost", lease.job.id, lease.chunk)
        self._forget(lease)

    def _send_back(self, lease: Lease, *, failed: bool) -> None:
        self._leases.release(lease, "ERROR" if failed else "RETURNED")
        self._forget(lease)

    def _forget(self, lease: Lease) -> None:
        with self._lock:
            self._held.pop(lease.token, None)

    def _beat(self) -> None:
        """Renews leases, unless compute hangs: then another worker must have them."""
        if self._compute.hung():
            _log.error("an engine call hangs; leases are no longer renewed")
            return
        with self._lock:
            held = list(self._held.values())
        for lease, work in held:
            if self._leases.beat(lease) != "HELD" and work is not None and work.drop():
                work.done(work, None)

    def return_all(self) -> None:
        """Gives back every lease still held, as when the worker ends."""
        with self._lock:
            held = list(self._held.values())
        for lease, _ in held:
            self._send_back(lease, failed=False)
