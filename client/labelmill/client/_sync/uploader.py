"""Feeds a scoring job, from the caller's thread or from one of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from labelmill.client._sync.stop import Stop
from labelmill.client._sync.transport import Transport
from labelmill.client._wire import jobs, upload
from labelmill.client._wire.jobs import Job
from labelmill.client._wire.upload import Item
from labelmill.errors import CancelledError, LabelmillError
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


class UploadThread:
    """An upload beside the reading of results; `stop` is set when it fails."""

    def __init__(
        self, transport: Transport, job_id: str, items: Iterable[Item], stop: Stop
    ) -> None:
        self._transport = transport
        self._job_id = job_id
        self._items = items
        self._stop = stop
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
            upload_items(self._transport, self._job_id, self._items, stop=self._stop)
        except BaseException as error:  # noqa: BLE001 - raised again by `finish`
            if not self._stop.is_set():
                self._failure = error
            self._stop.set()
