"""Scoring on asyncio: classify now, or score any number of texts as a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any

from labelmill.client._aio.jobs import AsyncJobs
from labelmill.client._aio.uploader import async_items, upload_items
from labelmill.client._wire import classification, jobs, upload
from labelmill.client._wire.call import Call
from labelmill.client._wire.classification import Classification, LongText
from labelmill.client._wire.jobs import Job, Priority
from labelmill.client._wire.results import ResultBatch, ResultStream, ScoredText
from labelmill.client._wire.upload import Item
from labelmill.errors import InternalError, LabelmillError

#: Seconds that a `score` which is left early spends on stopping its job.
_ABANDON_S = 2.0


class AsyncScoring(AsyncJobs):
    """Classify and score."""

    async def classify(
        self,
        texts: str | Sequence[str],
        *,
        model: str,
        engine: str | None = None,
        top_k: int = 0,
        threshold: float | None = None,
        long_text: LongText = "truncate",
        timeout: float | None = None,
    ) -> Classification:
        """Classifies 1 to 256 texts and waits for the answer.

        Args:
            texts: one text, or up to 256.
            model: ``name``, ``name@alias`` or ``name@version``.
            engine: e.g. ``onnx-fp32``; None takes the version's best.
            top_k: number of labels in `scores`; 0 returns all.
            threshold: score in [0, 1] below which the label is ``UNKNOWN``; None takes the
                version's own, 0 switches UNKNOWN off.
            long_text: what to do with a text longer than the model's max_length.
            timeout: seconds for the whole call with its retries; None takes the client's.

        Returns:
            One result a text, in order.

        Raises:
            InvalidArgumentError: no text, an empty one, more than 256, an option out of range.
            ModelNotFoundError: there is no such model, alias or version.
            EngineUnavailableError: the version cannot run on `engine`.
            OverloadedError: the queue is full; `retry_after_s` says when to come back.
            NoWorkerError: no live worker serves the engine.
            ServerUnavailableError: the server cannot be reached.
            DeadlineError: no answer within `timeout`.
        """
        return await self._transport.unary(
            classification.classify(
                texts,
                model=model,
                engine=engine,
                top_k=top_k,
                threshold=threshold,
                long_text=long_text,
            ),
            timeout,
        )

    def score(
        self,
        texts: Iterable[str] | AsyncIterable[str],
        *,
        model: str,
        ids: Iterable[str] | None = None,
        engine: str | None = None,
        top_k: int = 0,
        threshold: float | None = None,
        long_text: LongText = "truncate",
        priority: Priority = "normal",
        display_name: str = "",
        timeout: float | None = None,
    ) -> AsyncIterator[ScoredText]:
        """Scores any number of texts as a job and yields the rows in input order.

        Texts are read and uploaded by a task while results come back, so memory stays flat for an
        input of any length. A text that cannot be scored is a row with `error`, not an exception.
        Leaving the iterator early cancels the job; wrap it in `contextlib.aclosing` when the loop
        over it may be left by `break` or an exception.

        Args:
            texts: read once; an ordinary iterable is read in a thread, so it may block.
            model: resolved to a version once, when the job is created.
            ids: one a text, returned in the rows.
            engine: as in `classify`; pinned for the whole job.
            top_k: as in `classify`.
            threshold: as in `classify`.
            long_text: as in `classify`.
            priority: share of the workers against other jobs.
            display_name: free text for lists of jobs.
            timeout: seconds for everything; None sets no bound.

        Raises:
            InvalidArgumentError: a text that cannot be sent (named by its index), a bad option.
            ModelNotFoundError: there is no such model, alias or version.
            ServerUnavailableError: the server was away for longer than `reconnect_timeout`.
            CancelledError: the job was cancelled by someone else.
            DeadlineError: not done within `timeout`.
        """
        upload.check_texts(texts)
        create = jobs.create(
            model=model,
            engine=engine,
            top_k=top_k,
            threshold=threshold,
            long_text=long_text,
            priority=priority,
            display_name=display_name,
        )
        return self._score(create, async_items(texts, ids), timeout)

    async def _score(
        self, create: Call[Job], items: AsyncIterator[Item], timeout: float | None
    ) -> AsyncIterator[ScoredText]:
        job_id = (await self._transport.unary(create)).id
        results = ResultStream(job_id)
        batches = self._transport.follow(results, timeout_s=timeout)
        sending = asyncio.create_task(upload_items(self._transport, job_id, items))
        done = False
        try:
            try:
                while (batch := await _next(batches, sending)) is not None:
                    for row in batch.rows:
                        yield row
            except InternalError:
                # A job that was stopped has gaps: then that is what to say.
                jobs.check_stopped(await self.get_job(job_id))
                raise
            jobs.check_outcome(await self.get_job(job_id), results.next_index)
            done = True
        finally:
            await _settle(sending)
            await batches.aclose()
            if not done:
                # The server may be the very reason for leaving; the first error is the one to see.
                with suppress(LabelmillError):
                    await self._transport.unary(jobs.cancel(job_id), _ABANDON_S)


async def _next(
    batches: AsyncGenerator[ResultBatch, None], sending: asyncio.Task[Job]
) -> ResultBatch | None:
    """The next batch, or None after the last; raises at once when the upload fails."""

    async def step() -> ResultBatch | None:
        return await anext(batches, None)

    if sending.done():
        sending.result()
        return await step()
    receiving = asyncio.create_task(step())
    try:
        await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
        return await receiving
    finally:
        await _settle(receiving)


async def _settle(task: asyncio.Task[Any]) -> None:
    """Cancels the task, waits for its end and takes its exception, which is raised elsewhere."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
