"""Uploading texts into a scoring job: packing them into messages and resuming after a break.

One message is one UploadScoringItems call: when it is answered its texts are held by the server
and forgotten here, so an upload needs the memory of one message however long the input is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from labelmill.client._wire.call import Method
from labelmill.client._wire.classification import check_text
from labelmill.client._wire.jobs import Job, one_string
from labelmill.errors import FailedPreconditionError, InvalidArgumentError, LabelmillError
from labelmill.v1 import scoring_pb2 as pb

UPLOAD = Method(
    "/labelmill.v1.ScoringJobService/UploadScoringItems",
    pb.UploadScoringItemsRequest,
    pb.UploadScoringItemsResponse,
)

#: Texts in one message; a multiple of the 256 that make a chunk of work.
MAX_ITEMS = 4096

#: Bytes of texts and ids in one message; a single text may exceed it.
MAX_BYTES = 1024 * 1024

#: Seconds that the first text of a message waits for others when the input is slow.
MAX_WAIT_S = 0.5

#: Bytes of UTF-8 in one id.
MAX_ID_BYTES = 256


class Item(NamedTuple):
    """One text to score and the id that comes back with its result."""

    text: str
    id: str = ""


class Pairing:
    """Gives each text the id that stands at its place."""

    def __init__(self, ids: Iterable[str] | None) -> None:
        self._ids = None if ids is None else iter(ids)
        self._count = 0

    def pair(self, text: str) -> Item:
        """The next item; raises InvalidArgumentError when the ids have run out."""
        if self._ids is None:
            return Item(text)
        item_id = next(self._ids, None)
        if item_id is None:
            raise InvalidArgumentError.at(
                "ids", f"there are only {self._count}, but more texts; give one id a text"
            )
        self._count += 1
        return Item(text, item_id)

    def finish(self) -> None:
        """Raises InvalidArgumentError when ids are left over."""
        if self._ids is not None and next(self._ids, None) is not None:
            raise InvalidArgumentError.at("ids", f"there are more than the {self._count} texts")


def items(texts: Iterable[str], ids: Iterable[str] | None) -> Iterator[Item]:
    """Pairs texts with ids; raises InvalidArgumentError when their numbers differ."""
    pairing = Pairing(ids)
    for text in texts:
        yield pairing.pair(text)
    pairing.finish()


def check_texts(texts: object) -> None:
    """Raises InvalidArgumentError for one string where many are meant."""
    if isinstance(texts, str):
        raise one_string("texts")


class Packer:
    """Fills messages with items and keeps count of the offset."""

    def __init__(self, job_id: str, offset: int = 0) -> None:
        self._job_id = job_id
        self._bytes = 0
        self._begun = 0.0
        self._message = self._empty(offset)

    def add(self, item: Item) -> pb.UploadScoringItemsRequest | None:
        """Takes one item and returns a message when one is full or has waited long enough.

        Raises:
            InvalidArgumentError: the text or its id cannot be sent; names it by its index.
        """
        index = self._message.offset + len(self._message.items)
        check_text(item.text, f"texts[{index}]")
        if len(item.id) > MAX_ID_BYTES // 4 and len(item.id.encode()) > MAX_ID_BYTES:
            raise InvalidArgumentError.at(
                f"ids[{index}]", f"is longer than {MAX_ID_BYTES} bytes of UTF-8"
            )
        if not self._message.items:
            self._begun = time.monotonic()
        self._message.items.add(text=item.text, id=item.id)
        self._bytes += len(item.text) + len(item.id)
        full = len(self._message.items) >= MAX_ITEMS or self._bytes >= MAX_BYTES
        return self._take() if full or time.monotonic() - self._begun >= MAX_WAIT_S else None

    def flush(self) -> pb.UploadScoringItemsRequest | None:
        """What is left over, without sealing."""
        return self._take() if self._message.items else None

    def seal(self) -> pb.UploadScoringItemsRequest:
        """The last message, perhaps without items, which closes the job's input."""
        message = self._take()
        message.seal = True
        return message

    def _empty(self, offset: int) -> pb.UploadScoringItemsRequest:
        return pb.UploadScoringItemsRequest(job_id=self._job_id, offset=offset)

    def _take(self) -> pb.UploadScoringItemsRequest:
        message = self._message
        self._message = self._empty(end_offset(message))
        self._bytes = 0
        return message


def end_offset(message: pb.UploadScoringItemsRequest) -> int:
    """The offset after the message's last item."""
    return message.offset + len(message.items)


def maybe_sealed(
    error: LabelmillError, message: pb.UploadScoringItemsRequest, failures: int
) -> bool:
    """True when `error` may mean that an earlier, unanswered try already sealed the job."""
    return message.seal and failures > 0 and isinstance(error, FailedPreconditionError)


def is_sealed_by(job: Job, message: pb.UploadScoringItemsRequest) -> bool:
    """True when `job` is sealed right after `message`."""
    return job.sealed and job.upload_offset == end_offset(message)
