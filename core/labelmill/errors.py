"""Every error labelmill raises on purpose, and its gRPC status.

    LabelmillError
    ├── InvalidArgumentError          INVALID_ARGUMENT      (carries field violations)
    │   └── DatasetError              a data set that cannot be trained on
    ├── NotFoundError                 NOT_FOUND
    │   ├── ModelNotFoundError
    │   ├── JobNotFoundError
    │   └── DatasetNotFoundError
    ├── RequestIdReusedError          ALREADY_EXISTS
    ├── FailedPreconditionError       FAILED_PRECONDITION
    │   ├── EngineUnavailableError    the version or this machine cannot run that engine
    │   └── QueueUnfitError           Redis is set up in a way that would lose work
    ├── EtagMismatchError             ABORTED
    ├── OffsetGapError                OUT_OF_RANGE
    ├── OverloadedError               RESOURCE_EXHAUSTED    (carries retry_after_s)
    ├── QueueUnavailableError         UNAVAILABLE
    ├── NoWorkerError                 UNAVAILABLE
    ├── ServerUnavailableError        UNAVAILABLE           (client side)
    ├── DeadlineError                 DEADLINE_EXCEEDED
    ├── CancelledError                CANCELLED
    ├── ArtifactCorruptError          DATA_LOSS
    ├── GateFailedError               FAILED_PRECONDITION   an export that decides otherwise
    ├── UnimplementedError            UNIMPLEMENTED
    └── InternalError                 INTERNAL

The server turns an error into a rich status by `code` and `reason`; the client turns the status
back into the same class by `reason`. This module owns that table and imports nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

#: google.rpc.ErrorInfo.domain of every error.
DOMAIN = "labelmill"


class FieldViolation(NamedTuple):
    """One offending field, by its path in the request, e.g. ``texts[3]``."""

    field: str
    description: str


class LabelmillError(Exception):
    """Base of every error raised on purpose; `message` is one sentence with the remedy."""

    #: Name of the grpc.StatusCode.
    code: ClassVar[str] = "UNKNOWN"
    #: google.rpc.ErrorInfo.reason.
    reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[FieldViolation] = (),
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})


class InvalidArgumentError(LabelmillError):
    """A field of the request is wrong; repeating the request cannot help."""

    code = "INVALID_ARGUMENT"
    reason = "INVALID_ARGUMENT"

    @classmethod
    def at(cls, field: str, description: str) -> InvalidArgumentError:
        """An error of exactly one field."""
        return cls(f"{field}: {description}", violations=[FieldViolation(field, description)])


class DatasetError(InvalidArgumentError):
    """A data set that cannot be read or trained on; the message names the remedy."""

    reason = "BAD_DATASET"


class NotFoundError(LabelmillError):
    """The thing named does not exist."""

    code = "NOT_FOUND"
    reason = "NOT_FOUND"


class ModelNotFoundError(NotFoundError):
    """No such model, alias or version."""

    reason = "MODEL_NOT_FOUND"


class JobNotFoundError(NotFoundError):
    """No such job, or its retention ended."""

    reason = "JOB_NOT_FOUND"


class DatasetNotFoundError(NotFoundError):
    """No such data set; upload it first."""

    reason = "DATASET_NOT_FOUND"


class RequestIdReusedError(LabelmillError):
    """The request_id belongs to a different request."""

    code = "ALREADY_EXISTS"
    reason = "REQUEST_ID_REUSED"


class FailedPreconditionError(LabelmillError):
    """The system is in a state that forbids the call."""

    code = "FAILED_PRECONDITION"
    reason = "FAILED_PRECONDITION"


class EngineUnavailableError(FailedPreconditionError):
    """The model version, or this machine, cannot run the engine asked for."""

    reason = "ENGINE_UNAVAILABLE"


class QueueUnfitError(FailedPreconditionError):
    """Redis is too old or evicts keys: it would lose accepted work."""

    reason = "QUEUE_UNFIT"


class GateFailedError(FailedPreconditionError):
    """An exported model does not decide like the model it was made from."""

    reason = "GATE_FAILED"


class EtagMismatchError(LabelmillError):
    """The aliases changed since they were read; read again and retry."""

    code = "ABORTED"
    reason = "ETAG_MISMATCH"


class OffsetGapError(LabelmillError):
    """An upload would leave a gap; metadata has `expected_offset`."""

    code = "OUT_OF_RANGE"
    reason = "OFFSET_GAP"


class OverloadedError(LabelmillError):
    """A queue, quota or memory bound is reached; try again after `retry_after_s`."""

    code = "RESOURCE_EXHAUSTED"
    reason = "OVERLOADED"


class QueueUnavailableError(LabelmillError):
    """Redis cannot be reached."""

    code = "UNAVAILABLE"
    reason = "QUEUE_UNAVAILABLE"


class NoWorkerError(LabelmillError):
    """No live worker serves the engine asked for."""

    code = "UNAVAILABLE"
    reason = "NO_WORKER"


class ServerUnavailableError(LabelmillError):
    """The server cannot be reached."""

    code = "UNAVAILABLE"
    reason = "SERVER_UNAVAILABLE"


class DeadlineError(LabelmillError):
    """The caller's deadline passed before the answer was there."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class CancelledError(LabelmillError):
    """The work was cancelled."""

    code = "CANCELLED"
    reason = "CANCELLED"


class ArtifactCorruptError(LabelmillError):
    """A file of a model version is missing or fails its checksum."""

    code = "DATA_LOSS"
    reason = "ARTIFACT_CORRUPT"


class UnimplementedError(LabelmillError):
    """A later release will answer this."""

    code = "UNIMPLEMENTED"
    reason = "UNIMPLEMENTED"


class InternalError(LabelmillError):
    """A defect of labelmill; the server's log has the details under the request id."""

    code = "INTERNAL"
    reason = "INTERNAL"


def _tree(root: type[LabelmillError]) -> Iterator[type[LabelmillError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def by_reason() -> dict[str, type[LabelmillError]]:
    """Maps google.rpc.ErrorInfo.reason to the class that carries it."""
    return {cls.reason: cls for cls in _tree(LabelmillError)}
