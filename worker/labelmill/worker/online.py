"""The online side of a worker: requests in, replies out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from labelmill.errors import InternalError, LabelmillError
from labelmill.internal.v1.queue_pb2 import OnlineReply
from labelmill.queue.connection import TRANSIENT
from labelmill.queue.online import OnlineLane, Ticket
from labelmill.v1.classification_pb2 import ClassifyResponse, ItemError
from labelmill.worker.finisher import Finisher
from labelmill.worker.models import ModelCache
from labelmill.worker.results import results_of
from labelmill.worker.scheduler import Scheduler
from labelmill.worker.work import Work

_log = logging.getLogger(__name__)

#: Requests taken at a time.
_TAKE = 64

#: Texts that may wait in this worker; more stay in Redis, where other workers see them.
_MAX_WAITING_TEXTS = 256


class OnlineIntake:
    """Takes requests, tokenizes them and gives them to the scheduler."""

    def __init__(
        self, lane: OnlineLane, models: ModelCache, scheduler: Scheduler, finisher: Finisher
    ) -> None:
        self._lane = lane
        self._models = models
        self._scheduler = scheduler
        self._finisher = finisher

    def step(self) -> None:
        """Takes what is there; called again and again by one thread."""
        if self._scheduler.online_rows() >= _MAX_WAITING_TEXTS:
            # Full: come back when a batch or so has gone.
            time.sleep(0.002)
            return
        self.accept(self._lane.take(_TAKE))

    def accept(self, tickets: Sequence[Ticket]) -> None:
        """Schedules requests, also those taken over from dead workers."""
        for ticket in tickets:
            try:
                self._schedule(ticket)
            except LabelmillError as error:
                self._fail(ticket, error)
            except Exception:  # noqa: BLE001 - logged; one request must not end the lane
                _log.exception("request %s failed", ticket.request.id)
                self._fail(ticket, InternalError("the worker failed; its log has the details"))

    def _schedule(self, ticket: Ticket) -> None:
        request = ticket.request
        model = self._models.get(request.model, request.version, request.engine)
        queue_ms = max(0.0, time.time() * 1000 - request.enqueued_ms)
        started = time.perf_counter()
        tokens = model.tokenizer.encode(request.texts)
        work = Work(
            model,
            tokens,
            done=lambda work, error: self._finisher.put(
                lambda: self._reply(ticket, work, queue_ms, error)
            ),
            wanted=lambda: self._is_wanted(ticket),
            tokenize_ms=(time.perf_counter() - started) * 1000,
        )
        self._scheduler.put_online(work, request.deadline_ms)

    def _is_wanted(self, ticket: Ticket) -> bool:
        try:
            return self._lane.wanted(ticket)
        except TRANSIENT:
            # Unknown; an answer too many costs less than one too few.
            return True

    def _reply(self, ticket: Ticket, work: Work, queue_ms: float, error: Exception | None) -> None:
        if error is not None:
            self._lane.reply(
                ticket,
                OnlineReply(
                    id=ticket.request.id,
                    error=ItemError(
                        reason=InternalError.reason,
                        message=f"engine {work.model.engine.name} failed; the worker's log has why",
                    ),
                ),
            )
            return
        manifest = work.model.manifest
        # Nobody waits for dropped work, but the entry must go.
        results = [] if work.cancelled else results_of(work, ticket.request.options)
        self._lane.reply(
            ticket,
            OnlineReply(
                id=ticket.request.id,
                response=ClassifyResponse(
                    results=results,
                    model=manifest.model,
                    model_version=manifest.version,
                    engine=work.model.engine.name,
                    queue_ms=queue_ms,
                    tokenize_ms=work.tokenize_ms,
                    inference_ms=work.inference_ms,
                    batch_size=work.batch_size,
                ),
            ),
        )

    def _fail(self, ticket: Ticket, error: LabelmillError) -> None:
        reply = OnlineReply(
            id=ticket.request.id, error=ItemError(reason=error.reason, message=error.message)
        )
        self._finisher.put(lambda: self._lane.reply(ticket, reply))
