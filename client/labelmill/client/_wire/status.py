"""Turns a gRPC status back into the exception the server raised.

The table is `labelmill.errors`: google.rpc.ErrorInfo.reason names the class. A status without
ErrorInfo comes from gRPC itself (no connection, no answer in time) and goes by its code.
"""

from __future__ import annotations

from typing import Protocol

import grpc
from google.rpc import error_details_pb2, status_pb2

from labelmill.errors import (
    DOMAIN,
    DeadlineError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    LabelmillError,
    NotFoundError,
    OverloadedError,
    ServerUnavailableError,
    UnimplementedError,
    by_reason,
)

#: Trailing metadata that carries a serialized google.rpc.Status.
_DETAILS_KEY = "grpc-status-details-bin"

#: Classes of statuses that gRPC itself made.
_BY_CODE: dict[grpc.StatusCode, type[LabelmillError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNKNOWN: InternalError,
}


class Status(Protocol):
    """What the errors of both gRPC stacks offer."""

    def code(self) -> grpc.StatusCode:
        """The status code."""

    def details(self) -> str | None:
        """The status message."""

    def trailing_metadata(self) -> object:
        """Key-value pairs sent with the status."""


def to_error(status: Status, address: str) -> LabelmillError:
    """The exception that `status` stands for, from a call to the server at `address`."""
    details = _details(status)
    info = error_details_pb2.ErrorInfo()
    violations: list[FieldViolation] = []
    retry_after_s: float | None = None
    for detail in details.details if details else ():
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            violations += [FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    if info.domain == DOMAIN and (cls := by_reason().get(info.reason)):
        return cls(
            status.details() or cls.reason,
            violations=violations,
            retry_after_s=retry_after_s,
            metadata=info.metadata,
        )
    return _without_reason(status, address, retry_after_s)


def _details(status: Status) -> status_pb2.Status | None:
    metadata = status.trailing_metadata()
    if not metadata:
        return None
    for key, value in metadata:  # type: ignore[attr-defined]
        if key == _DETAILS_KEY:
            return status_pb2.Status.FromString(value)
    return None


def _without_reason(status: Status, address: str, retry_after_s: float | None) -> LabelmillError:
    code, text = status.code(), status.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServerUnavailableError(
            f"cannot reach a labelmill server at {address}; start one with `labelmill up`, or "
            "give its --address (LABELMILL_ADDRESS)",
            metadata={"address": address, "grpc": text},
            retry_after_s=retry_after_s,
        )
    if code is grpc.StatusCode.CANCELLED:
        # The clients' own cancellations never come here: a server that stops did this.
        return ServerUnavailableError(
            f"the server at {address} broke the call off, as one does that is shutting down; "
            "try again",
            metadata={"address": address, "grpc": text},
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(
            f"the server at {address} did not answer within the deadline; give a longer timeout, "
            "or start more workers",
            metadata={"address": address, "grpc": text},
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnimplementedError(
            f"the server at {address} does not know this call; it may be older than this client",
            metadata={"address": address, "grpc": text},
        )
    cls = _BY_CODE.get(code)
    if cls is not None:
        return cls(text or code.name, retry_after_s=retry_after_s, metadata={"address": address})
    return LabelmillError(f"{code.name}: {text}", metadata={"address": address})
