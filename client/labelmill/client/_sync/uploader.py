"""Feeds a scoring job, from the caller's thread or, while results come back, from its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable

from labelmill.client._sync.stop import Stop
from labelmill.client._sync.transport import Transport
from labelmill.client._wire import jobs, upload
from labelmill.client._wire.jobs import Job
from labelmill.client._wire.results import ResultBatch, ResultStream
from labelmill.client._wire.upload import Item
from labelmill.errors import CancelledError, InternalError, LabelmillError, OffsetGapError
from labelmill.v1 import scoring_pb2 as pb


def upload_items(
    transport: Transport,
    job_id: str,
    items: Iterable[Item],
    *,
    offset: int = 0,
    seal: bool = True,
    timeout_s: float | None = None,
    stop: Stop | None = None,
) -> Job:
    """Sends `items` as the job's items from `offset` on; see ``Client.upload_items``."""
    stop = stop or Stop()
    backoff = transport.patient(timeout_s, wait_out_overload=True)

    def send(message: pb.UploadScoringItemsRequest) -> Job:
        try:
            response = transport.upload(
                upload.UPLOAD, lambda: iter([message]), backoff=backoff, stop=stop
            )
        except LabelmillError as error:
            if upload.maybe_sealed(error, message, backoff.failures):
                job = transport.unary(jobs.get(job_id))
                if upload.is_sealed_by(job, message):
                    return job
            raise
        return jobs.parse_job(response.job)

    packer = upload.Packer(job_id, offset)
    for item in items:
        if stop.is_set():
            raise CancelledError("the upload was stopped")
        if (message := packer.add(item)) is not None:
            send(message)
    if seal:
        return send(packer.seal())
    if (message := packer.flush()) is not None:
        return send(message)
    return transport.unary(jobs.get(job_id))


#: Seconds that a run which is left early waits for its upload to stop.
ABANDON_S = 2.0

#: The items from an index on.
Source = Callable[[int], Iterable[Item]]


def run_job(
    transport: Transport,
    job_id: str,
    source: Source | None,
    *,
    offset: int = 0,
    resume_token: str = "",
    next_index: int = 0,
    timeout_s: float | None = None,
    replayable: bool = False,
) -> Generator[ResultBatch, None, None]:
    """Uploads a job's items from `offset` on while its results from `next_index` on come back.

    Args:
        transport: of the client.
        job_id: a job made for an upload.
        source: called from a thread; None when the job is sealed already.
        offset: where the upload goes on.
        resume_token: where the results go on.
        next_index: the row after `resume_token`.
        timeout_s: seconds for everything; None sets no bound.
        replayable: `source` may be called again, so that a server which forgot the last items it
            had acknowledged gets them a second time.

    Raises:
        LabelmillError: as ``Client.score``; or whatever `source` raised.
    """
    stop = Stop()
    thread = None
    if source is not None:
        thread = UploadThread(transport, job_id, source, offset, stop, replayable=replayable)
    results = ResultStream(job_id, resume_token, next_index)
    try:
        if thread:
            thread.start()
        try:
            yield from transport.follow(results, timeout_s=timeout_s, stop=stop)
        except InternalError:
            # A job that was stopped has gaps: then that is what to say.
            jobs.check_stopped(transport.unary(jobs.get(job_id)))
            raise
        if thread and stop.is_set():
            thread.finish()
        jobs.check_outcome(transport.unary(jobs.get(job_id)), results.next_index)
    finally:
        if thread:
            thread.abandon(ABANDON_S)


class UploadThread:
    """An upload beside the reading of results; `stop` is set when it fails."""

    def __init__(
        self,
        transport: Transport,
        job_id: str,
        source: Source,
        offset: int,
        stop: Stop,
        *,
        replayable: bool,
    ) -> None:
        self._transport = transport
        self._job_id = job_id
        self._source = source
        self._offset = offset
        self._stop = stop
        self._replayable = replayable
        self._failure: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"labelmill-upload-{job_id}", daemon=True
        )

    def start(self) -> None:
        """Begins the upload."""
        self._thread.start()

    def finish(self) -> None:
        """Waits for the upload's end and raises what it failed with."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def abandon(self, seconds: float) -> None:
        """Asks the thread to end and waits at most so long.

        A thread that waits in the caller's own iterator ends when that yields the next text.
        """
        self._stop.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._upload()
        except BaseException as error:  # noqa: BLE001 - raised again by `finish`
            if not self._stop.is_set():
                self._failure = error
            self._stop.set()

    def _upload(self) -> None:
        while True:
            items = self._source(self._offset)
            try:
                upload_items(
                    self._transport, self._job_id, items, offset=self._offset, stop=self._stop
                )
            except OffsetGapError as gap:
                # A queue that lost its last second asks for what it had acknowledged before.
                held = gap.metadata.get("expected_offset", "")
                if not self._replayable or not held.isdecimal():
                    raise
                self._offset = int(held)
            else:
                return
