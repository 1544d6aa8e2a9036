"""Scoring jobs on asyncio: make them, fill them, steer them, read their results."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from datetime import datetime

from labelmill.client._aio.base import AsyncPart
from labelmill.client._aio.uploader import async_items, upload_items
from labelmill.client._wire import jobs, upload
from labelmill.client._wire.classification import LongText
from labelmill.client._wire.jobs import Job, JobState, JobWatch, Priority
from labelmill.client._wire.results import ResultBatch, ResultStream, ScoredText


class AsyncJobs(AsyncPart):
    """Methods of the ScoringJobService."""

    async def create_job(
        self,
        texts: Sequence[str] | None = None,
        *,
        model: str,
        ids: Sequence[str] | None = None,
        engine: str | None = None,
        top_k: int = 0,
        threshold: float | None = None,
        long_text: LongText = "truncate",
        priority: Priority = "normal",
        max_failed_fraction: float | None = None,
        deadline: datetime | None = None,
        retention_s: float | None = None,
        display_name: str = "",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Job:
        """Creates a scoring job that goes on without this client.

        Args:
            texts: 1 to 10,000 texts; None leaves the job open for `upload_items`.
            model: ``name``, ``name@alias`` or ``name@version``; resolved once, here.
            ids: one a text, at most 256 bytes each.
            engine: as in `classify`; pinned for the whole job.
            top_k: as in `classify`.
            threshold: as in `classify`.
            long_text: as in `classify`.
            priority: share of the workers against other jobs.
            max_failed_fraction: share of failed texts in [0, 1] above which the job is FAILED.
            deadline: the job is EXPIRED when not done by then.
            retention_s: seconds that results are kept after the end; None takes 7 days.
            display_name: free text for lists of jobs.
            request_id: UUID4 that makes repeating this call within 24 h return the same job.
            timeout: as in `classify`.

        Raises:
            InvalidArgumentError: too many texts, a bad option.
            ModelNotFoundError: there is no such model, alias or version.
            EngineUnavailableError: the version cannot run on `engine`.
            RequestIdReusedError: the request_id belongs to a different request.
            OverloadedError: a quota or the queue's memory is used up.
        """
        create = jobs.create(
            model=model,
            texts=texts,
            ids=ids,
            engine=engine,
            top_k=top_k,
            threshold=threshold,
            long_text=long_text,
            priority=priority,
            max_failed_fraction=max_failed_fraction,
            deadline=deadline,
            retention_s=retention_s,
            display_name=display_name,
            request_id=request_id,
        )
        return await self._transport.unary(create, timeout)

    async def upload_items(
        self,
        job_id: str,
        texts: Iterable[str] | AsyncIterable[str],
        *,
        ids: Iterable[str] | None = None,
        offset: int = 0,
        seal: bool = True,
        timeout: float | None = None,
    ) -> Job:
        """Appends texts to a job that was created without any.

        Waits where the server is overloaded and goes on after it was away.

        Args:
            job_id: from `create_job`.
            texts: those from index `offset` on.
            ids: one a text.
            offset: index of the first text; after a break, the job's `upload_offset`.
            seal: False leaves the job open for more.
            timeout: seconds for the whole upload; None sets no bound.

        Raises:
            JobNotFoundError: there is no such job.
            OffsetGapError: the server holds fewer than `offset` texts.
            FailedPreconditionError: the job is sealed, cancelled or finished.
            InvalidArgumentError: a text that cannot be sent, named by its index.
        """
        upload.check_texts(texts)
        return await upload_items(
            self._transport,
            job_id,
            async_items(texts, ids),
            offset=offset,
            seal=seal,
            timeout_s=timeout,
        )

    async def get_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job now; raises JobNotFoundError."""
        return await self._transport.unary(jobs.get(job_id), timeout)

    def list_jobs(
        self,
        *,
        states: Iterable[JobState | str] = (),
        page_size: int = 100,
        timeout: float | None = None,
    ) -> AsyncIterator[Job]:
        """Jobs, newest first, read page by page; `states` empty means all."""
        chosen = list(states)
        return self._transport.pages(
            lambda token: jobs.list_page(chosen, page_size, token), timeout
        )

    def watch_job(self, job_id: str, *, timeout: float | None = None) -> AsyncIterator[Job]:
        """The job now and after every change until it is final, across reconnects."""
        return self._transport.follow(JobWatch(job_id), timeout_s=timeout)

    async def cancel_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Stops the job; results committed before are kept.

        Raises:
            JobNotFoundError: there is no such job.
            FailedPreconditionError: it has already finished.
        """
        return await self._transport.unary(jobs.cancel(job_id), timeout)

    async def pause_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Holds the job back until `resume_job`; raises as `cancel_job`."""
        return await self._transport.unary(jobs.pause(job_id), timeout)

    async def resume_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Continues a paused job; raises as `cancel_job`."""
        return await self._transport.unary(jobs.resume(job_id), timeout)

    async def delete_job(self, job_id: str, *, timeout: float | None = None) -> None:
        """Deletes a finished job with its results; raises as `cancel_job`."""
        await self._transport.unary(jobs.delete(job_id), timeout)

    async def results(
        self, job_id: str, *, timeout: float | None = None
    ) -> AsyncIterator[ScoredText]:
        """A job's rows in input order, as they become available, until the last that exists."""
        async for batch in self.result_batches(job_id, timeout=timeout):
            for row in batch.rows:
                yield row

    def result_batches(
        self,
        job_id: str,
        *,
        resume_token: str = "",
        next_index: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[ResultBatch]:
        """As `results`, with a token after each batch that continues there in another process.

        Args:
            job_id: from `create_job`.
            resume_token: of the last batch that was dealt with; empty starts at the beginning.
            next_index: index of the row that follows it, to check that none comes twice.
            timeout: seconds for everything; None sets no bound.
        """
        cursor = ResultStream(job_id, resume_token, next_index, gaps=True)
        return self._transport.follow(cursor, timeout_s=timeout)
