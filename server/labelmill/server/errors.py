"""From exceptions to google.rpc.Status. The table of errors itself is labelmill.errors.

Statuses travel in HTTP/2 headers, of which 8 KiB are safe, so everything here is cut to size.
"""

from __future__ import annotations

import errno
from typing import TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from redis.exceptions import OutOfMemoryError, ResponseError

from labelmill.errors import (
    DOMAIN,
    InternalError,
    InvalidArgumentError,
    LabelmillError,
    OverloadedError,
    QueueUnavailableError,
    UnimplementedError,
)
from labelmill.queue.connection import TRANSIENT

_M = TypeVar("_M", bound=Message)

#: Bytes of a status's message, and of one field's description.
_MAX_MESSAGE_BYTES, _MAX_DESCRIPTION_BYTES = 800, 300

#: Bytes of one value of ErrorInfo.metadata.
_MAX_METADATA_BYTES = 200

#: Field violations named in one status.
MAX_VIOLATIONS = 8

#: Seconds until a call that met a full or absent Redis should be tried again.
_RETRY_S = 1.0

#: How Redis begins its answer when it is there but cannot take the write now.
_BUSY = ("MISCONF", "BUSY", "LOADING", "TRYAGAIN", "NOREPLICAS", "MASTERDOWN")


def from_exception(error: Exception) -> LabelmillError | None:
    """What the caller is told of `error`; None when it is a defect of labelmill."""
    if isinstance(error, LabelmillError):
        return error
    if isinstance(error, TRANSIENT):
        return queue_unavailable(error)
    if isinstance(error, ResponseError):
        words = cause(error)
        if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in words:
            return OverloadedError(
                "Redis has used up its maxmemory; wait until work is done, or raise maxmemory",
                retry_after_s=_RETRY_S,
                metadata={"subject": "redis:maxmemory"},
            )
        if words.startswith(_BUSY):
            return queue_unavailable(error)
    if isinstance(error, NotImplementedError):
        return UnimplementedError("this server does not serve that method")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OverloadedError(
            "the disk of the registry is full; free some space and send it again",
            metadata={"subject": "registry:disk"},
        )
    return None


def queue_unavailable(error: Exception) -> QueueUnavailableError:
    """The error of a call that Redis did not serve."""
    return QueueUnavailableError(
        f"Redis does not answer ({cause(error) or type(error).__name__}); try again, and see that "
        "it runs and is writable",
        retry_after_s=_RETRY_S,
    )


def cause(error: Exception) -> str:
    """What Redis said, without the command, which may hold a caller's text."""
    words = str(error).rpartition("of pipeline caused error: ")[2]
    return words.removeprefix("('").removesuffix("',)")


def by_chance(request_id: str) -> InternalError:
    """The error that stands for a defect; the log has the rest under the same id."""
    return InternalError(
        f"the server failed; its log has the details under request id {request_id}"
    )


def to_status(error: LabelmillError, request_id: str) -> status_pb2.Status:
    """The rich status of `error`."""
    status = status_pb2.Status(
        code=getattr(grpc.StatusCode, error.code).value[0],
        message=clipped(error.message, _MAX_MESSAGE_BYTES),
    )
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = clipped(value, _MAX_METADATA_BYTES)
    info.metadata["request_id"] = request_id
    status.details.add().Pack(info)
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations[:MAX_VIOLATIONS]:
            bad.field_violations.add(
                field=violation.field,
                description=clipped(violation.description, _MAX_DESCRIPTION_BYTES),
            )
        status.details.add().Pack(bad)
    if isinstance(error, OverloadedError):
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(
            subject=error.metadata.get("subject", "server"),
            description=clipped(error.message, _MAX_DESCRIPTION_BYTES),
        )
        status.details.add().Pack(quota)
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def parse(kind: type[_M], payload: bytes) -> _M:
    """The request in `payload`.

    Raises:
        InvalidArgumentError: it is no such message, or a string in it is not UTF-8.
    """
    try:
        return kind.FromString(payload)
    except DecodeError as error:
        raise InvalidArgumentError.at(
            "request",
            f"is no valid {kind.DESCRIPTOR.full_name}; strings must be UTF-8, and client and "
            "server must have the same protos",
        ) from error


def clipped(text: str, limit: int) -> str:
    """`text` of at most `limit` bytes of UTF-8."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 4].decode("utf-8", "ignore") + " ..."
