"""Scoring: classify now, score any number of texts, steer jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime

from labelmill.client._sync.base import Part
from labelmill.client._sync.uploader import ABANDON_S, run_job, upload_items
from labelmill.client._wire import classification, jobs, upload
from labelmill.client._wire.call import Call
from labelmill.client._wire.classification import Classification, LongText
from labelmill.client._wire.jobs import Job, JobState, JobWatch, Priority
from labelmill.client._wire.results import ResultBatch, ResultStream, ScoredText
from labelmill.client._wire.upload import Item
from labelmill.errors import LabelmillError


class Scoring(Part):
    """Methods of the ClassificationService and the ScoringJobService."""

    def classify(
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
        return self._transport.unary(
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
        texts: Iterable[str],
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
    ) -> Iterator[ScoredText]:
        """Scores any number of texts as a job and yields the rows in input order.

        Texts are read and uploaded by a thread while results come back, so memory stays flat for
        an input of any length. A text that cannot be scored is a row with `error`, not an
        exception. Leaving the iterator early cancels the job.

        Args:
            texts: read once, from another thread.
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
            texts=None,
            ids=None,
            engine=engine,
            top_k=top_k,
            threshold=threshold,
            long_text=long_text,
            priority=priority,
            max_failed_fraction=None,
            deadline=None,
            retention_s=None,
            display_name=display_name,
            request_id=None,
        )
        return self._score(create, upload.items(texts, ids), timeout)

    def _score(
        self, create: Call[Job], items: Iterator[Item], timeout: float | None
    ) -> Iterator[ScoredText]:
        job_id = self._transport.unary(create).id
        run = run_job(self._transport, job_id, lambda _: items, timeout_s=timeout)
        done = False
        try:
            with closing(run):
                for batch in run:
                    yield from batch.rows
            done = True
        finally:
            if not done:
                # The server may be the very reason for leaving; the first error is the one to see.
                with suppress(LabelmillError):
                    self._transport.unary(jobs.cancel(job_id), ABANDON_S)

    def create_job(
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
        return self._transport.unary(create, timeout)

    def upload_items(
        self,
        job_id: str,
        texts: Iterable[str],
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
        items = upload.items(texts, ids)
        return upload_items(
            self._transport, job_id, items, offset=offset, seal=seal, timeout_s=timeout
        )

    def get_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job now; raises JobNotFoundError."""
        return self._transport.unary(jobs.get(job_id), timeout)

    def list_jobs(
        self,
        *,
        states: Iterable[JobState | str] = (),
        page_size: int = 100,
        timeout: float | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, read page by page; `states` empty means all."""
        chosen = list(states)
        return self._transport.pages(
            lambda token: jobs.list_page(chosen, page_size, token), timeout
        )

    def watch_job(self, job_id: str, *, timeout: float | None = None) -> Iterator[Job]:
        """The job now and after every change until it is final, across reconnects."""
        return self._transport.follow(JobWatch(job_id), timeout_s=timeout)

    def cancel_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Stops the job; results committed before are kept.

        Raises:
            JobNotFoundError: there is no such job.
            FailedPreconditionError: it has already finished.
        """
        return self._transport.unary(jobs.cancel(job_id), timeout)

    def pause_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Holds the job back until `resume_job`; raises as `cancel_job`."""
        return self._transport.unary(jobs.pause(job_id), timeout)

    def resume_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Continues a paused job; raises as `cancel_job`."""
        return self._transport.unary(jobs.resume(job_id), timeout)

    def delete_job(self, job_id: str, *, timeout: float | None = None) -> None:
        """Deletes a finished job with its results; raises as `cancel_job`."""
        self._transport.unary(jobs.delete(job_id), timeout)

    def results(self, job_id: str, *, timeout: float | None = None) -> Iterator[ScoredText]:
        """A job's rows in input order, as they become available, until the last that exists."""
        for batch in self.result_batches(job_id, timeout=timeout):
            yield from batch.rows

    def result_batches(
        self,
        job_id: str,
        *,
        resume_token: str = "",
        next_index: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[ResultBatch]:
        """As `results`, with a token after each batch that continues there in another process.

        Args:
            job_id: from `create_job`.
            resume_token: of the last batch that was dealt with; empty starts at the beginning.
            next_index: index of the row that follows it, to check that none is missing.
            timeout: seconds for everything; None sets no bound.
        """
        cursor = ResultStream(job_id, resume_token, next_index)
        return self._transport.follow(cursor, timeout_s=timeout)
