"""Scoring: classify now, or score any number of texts as a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress

from labelmill.client._sync.jobs import Jobs
from labelmill.client._sync.uploader import ABANDON_S, run_job
from labelmill.client._wire import classification, jobs, upload
from labelmill.client._wire.call import Call
from labelmill.client._wire.classification import Classification, LongText
from labelmill.client._wire.jobs import Job, Priority
from labelmill.client._wire.results import ScoredText
from labelmill.client._wire.upload import Item
from labelmill.errors import LabelmillError


class Scoring(Jobs):
    """Classify and score."""

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
            engine=engine,
            top_k=top_k,
            threshold=threshold,
            long_text=long_text,
            priority=priority,
            display_name=display_name,
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
