"""One run of `labelmill score`: finds or creates the job, then moves rows both ways."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from types import TracebackType
from typing import Any, Self

from labelmill.client import Client, Job, ResultBatch, ScoredText
from labelmill.client._sync.uploader import run_job
from labelmill.client._wire.upload import Item
from labelmill.client.cli import output
from labelmill.client.cli.table.checkpoint import Checkpoint
from labelmill.client.cli.table.reader import FIELD, Row, Table
from labelmill.client.cli.table.sink import Sink
from labelmill.client.cli.table.writer import Scored
from labelmill.errors import InvalidArgumentError, JobNotFoundError, LabelmillError

#: Seconds between two lines about progress when stderr is no terminal.
_LINE_S = 10.0


class Run:
    """Reads the table twice at once: for the upload and, beside the results, for the output.

    Args:
        client: connected to the server.
        table: the input.
        sink: the output, entered.
        request: what was asked for; an earlier run is continued only when it asked the same.
        send_ids: whether the ids go to the server, where `jobs results` shows them.
    """

    def __init__(
        self, client: Client, table: Table, sink: Sink, request: dict[str, Any], *, send_ids: bool
    ) -> None:
        self._client = client
        self._table = table
        self._sink = sink
        self._request = request
        self._send_ids = send_ids
        self._begun = time.monotonic()

    def continued(self) -> tuple[Job, Checkpoint] | None:
        """The job of an earlier run that can be gone on with; says why when it cannot."""
        saved = self._sink.saved()
        if saved is None:
            return None
        if not saved.is_for(self._request):
            output.note(
                f"starting over: job {saved.job} had other input or options; "
                f"`labelmill jobs cancel {saved.job}` stops it if it still runs"
            )
            return None
        try:
            job = self._client.get_job(saved.job)
        except JobNotFoundError:
            output.note(f"starting over: the server has no job {saved.job} any more")
            return None
        if job.state.final and not job.state.successful:
            output.note(f"starting over: job {job.id} ended as {job.state}")
            return None
        output.note(
            f"going on with job {job.id}: {saved.rows:,} of {saved.total:,} rows are written"
        )
        return job, saved

    def created(self, **asked: Any) -> tuple[Job, Checkpoint]:
        """A new job, once the whole input is known to be readable."""
        self._sink.forget()
        with output.stderr.status(f"reading {self._table.path.name}"):
            total = self._table.count()
        job = self._client.create_job(**asked)
        return job, Checkpoint(job.id, self._request, total)

    def finish(self, job: Job, checkpoint: Checkpoint) -> tuple[Job, float, int]:
        """Moves the rest; returns the job at its end, seconds taken and rows moved.

        Raises:
            InvalidArgumentError: the input changed meanwhile.
            LabelmillError: as ``Client.score``.
        """
        self._sink.begin(checkpoint)
        first = checkpoint.rows
        run = run_job(
            self._client._transport,
            job.id,
            None if job.sealed else self._items,
            offset=job.upload_offset,
            resume_token=checkpoint.resume_token,
            next_index=first,
            replayable=True,
        )
        rows = self._table.rows(first)
        goes_on = f"job {job.id} is not done yet; the same command goes on with it"
        try:
            with closing(run), _Meter(checkpoint.total, first) as meter:
                for batch in run:
                    self._sink.write(self._scored(batch, rows), batch.resume_token)
                    meter.advance(len(batch.rows))
        except (KeyboardInterrupt, LabelmillError) as error:
            self._sink.save()
            if isinstance(error, KeyboardInterrupt) or error.code == "UNAVAILABLE":
                output.note(goes_on)
            raise
        if self._table.fingerprint() != self._request["input"]:
            raise self._changed()
        self._sink.publish()
        seconds = time.monotonic() - self._begun
        return self._client.get_job(job.id), seconds, self._sink.rows - first

    def _items(self, offset: int) -> Iterator[Item]:
        for row in self._table.rows(offset):
            yield Item(row.text, row.id if self._send_ids else "")

    def _scored(self, batch: ResultBatch, rows: Iterator[Row]) -> list[Scored]:
        scored = [_join(row, found) for found, row in zip(batch.rows, rows, strict=False)]
        if len(scored) != len(batch.rows):
            raise self._changed()
        return scored

    def _changed(self) -> InvalidArgumentError:
        return InvalidArgumentError.at(
            FIELD, f"{self._table.path} changed while it was scored; run the command again"
        )


class _Meter:
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._done = self._first = done
        self._begun = self._said = time.monotonic()
        self._progress = output.progress("texts")
        self._task = self._progress.add_task("scoring", total=total, completed=done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, rows: int) -> None:
        """Notes that so many rows more are written."""
        self._done += rows
        self._progress.update(self._task, completed=self._done)
        now = time.monotonic()
        if self._progress.disable and now - self._said >= _LINE_S:
            self._said = now
            rate = (self._done - self._first) / (now - self._begun)
            output.note(f"{self._done:,} of {self._total:,} texts scored ({rate:,.0f}/s)")


def _join(row: Row, found: ScoredText) -> Scored:
    if found.error is not None:
        error = f"{found.error.reason}: {found.error.message}"
        return Scored(row.id, row.text, None, None, error)
    return Scored(row.id, row.text, found.label, found.score, None)
