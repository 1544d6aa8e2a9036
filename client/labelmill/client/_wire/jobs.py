"""Scoring jobs: what they say about themselves and the calls that steer them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal, get_args

from google.protobuf.timestamp_pb2 import Timestamp

from labelmill.client._wire.call import Call, Cursor, Method, Page, call
from labelmill.client._wire.classification import (
    ItemError,
    LongText,
    check_text,
    parse_error,
    scoring_options,
)
from labelmill.errors import (
    CancelledError,
    DeadlineError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    LabelmillError,
    by_reason,
)
from labelmill.v1 import scoring_pb2 as pb

_SERVICE = "/labelmill.v1.ScoringJobService"
CREATE = Method(
    f"{_SERVICE}/CreateScoringJob", pb.CreateScoringJobRequest, pb.CreateScoringJobResponse
)
GET = Method(f"{_SERVICE}/GetScoringJob", pb.GetScoringJobRequest, pb.GetScoringJobResponse)
LIST = Method(f"{_SERVICE}/ListScoringJobs", pb.ListScoringJobsRequest, pb.ListScoringJobsResponse)
WATCH = Method(f"{_SERVICE}/WatchScoringJob", pb.WatchScoringJobRequest, pb.WatchScoringJobResponse)
CANCEL = Method(
    f"{_SERVICE}/CancelScoringJob", pb.CancelScoringJobRequest, pb.CancelScoringJobResponse
)
PAUSE = Method(f"{_SERVICE}/PauseScoringJob", pb.PauseScoringJobRequest, pb.PauseScoringJobResponse)
RESUME = Method(
    f"{_SERVICE}/ResumeScoringJob", pb.ResumeScoringJobRequest, pb.ResumeScoringJobResponse
)
DELETE = Method(
    f"{_SERVICE}/DeleteScoringJob", pb.DeleteScoringJobRequest, pb.DeleteScoringJobResponse
)

Priority = Literal["low", "normal", "high"]

_PRIORITIES = {
    "low": pb.JOB_PRIORITY_LOW,
    "normal": pb.JOB_PRIORITY_NORMAL,
    "high": pb.JOB_PRIORITY_HIGH,
}

_PREFIX = "JOB_STATE_"


class JobState(StrEnum):
    """Where a scoring or training job stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    PARTIALLY_SUCCEEDED = "PARTIALLY_SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def final(self) -> bool:
        """True when the job will not change any more."""
        return self in _FINAL

    @property
    def successful(self) -> bool:
        """True when every text has a result or a named error."""
        return self in (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED)


_FINAL = {
    JobState.SUCCEEDED,
    JobState.PARTIALLY_SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Job:
    """A scoring job as it stood when it was read."""

    id: str
    state: JobState
    model: str
    #: Model version and engine, pinned when the job was created.
    version: int
    engine: str
    tenant: str
    priority: str
    display_name: str
    #: Texts received, of which so many have a result or an error.
    total: int
    succeeded: int
    failed: int
    token_count: int
    #: True when no more texts can be uploaded.
    sealed: bool
    #: Index the next uploaded text must have.
    upload_offset: int
    retried_chunks: int
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    error: ItemError | None


def parse_state(value: int) -> JobState:
    """The state of a wire value; one that this client does not know yet counts as RUNNING."""
    known = value in pb.JobState.values()
    name = pb.JobState.Name(pb.JobState.ValueType(value)).removeprefix(_PREFIX) if known else ""
    return JobState(name) if name in JobState.__members__ else JobState.RUNNING


def parse_time(stamp: Timestamp, *, present: bool) -> datetime | None:
    """A timestamp in UTC, or None when the field was not `present`."""
    return stamp.ToDatetime(tzinfo=UTC) if present else None


def parse_job(job: pb.ScoringJob) -> Job:
    """A job from its message."""
    return Job(
        id=job.id,
        state=parse_state(job.state),
        model=job.model,
        version=job.model_version,
        engine=job.engine,
        tenant=job.tenant,
        priority=next((k for k, v in _PRIORITIES.items() if v == job.priority), "normal"),
        display_name=job.display_name,
        total=job.total_count,
        succeeded=job.succeeded_count,
        failed=job.failed_count,
        token_count=job.token_count,
        sealed=job.sealed,
        upload_offset=job.upload_offset,
        retried_chunks=job.retried_chunk_count,
        created_at=parse_time(job.create_time, present=job.HasField("create_time")),
        started_at=parse_time(job.start_time, present=job.HasField("start_time")),
        ended_at=parse_time(job.end_time, present=job.HasField("end_time")),
        expires_at=parse_time(job.expire_time, present=job.HasField("expire_time")),
        error=parse_error(job.error) if job.HasField("error") else None,
    )


def create(
    *,
    model: str,
    engine: str | None,
    top_k: int,
    threshold: float | None,
    long_text: LongText,
    priority: Priority,
    display_name: str,
    texts: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    max_failed_fraction: float | None = None,
    deadline: datetime | None = None,
    retention_s: float | None = None,
    request_id: str | None = None,
) -> Call[Job]:
    """The call behind ``Client.create_job``; `texts` None leaves the job open for an upload."""
    if priority not in _PRIORITIES:
        raise InvalidArgumentError.at(
            "priority", f"{priority!r} is none of {', '.join(get_args(Priority))}"
        )
    if isinstance(texts, str):
        raise one_string("texts")
    if ids is not None and len(ids) != len(texts or ()):
        raise InvalidArgumentError.at(
            "ids", f"there are {len(ids)} ids for {len(texts or ())} texts; give one a text"
        )
    request = pb.CreateScoringJobRequest(
        # Made here, so that a repetition after a lost answer finds the job it created.
        request_id=request_id or str(uuid.uuid4()),
        model=model,
        engine=engine or "",
        options=scoring_options(top_k=top_k, threshold=threshold, long_text=long_text),
        priority=_PRIORITIES[priority],
        max_failed_fraction=max_failed_fraction,
        display_name=display_name,
    )
    if texts is None:
        request.upload_pending = True
    else:
        request.inline_items.SetInParent()
        for index, text in enumerate(texts):
            check_text(text, f"texts[{index}]")
            request.inline_items.items.add(text=text, id=ids[index] if ids else "")
    if deadline is not None:
        request.deadline.FromDatetime(deadline)
    if retention_s is not None:
        request.retention.FromTimedelta(timedelta(seconds=retention_s))
    return call(CREATE, request, lambda response: parse_job(response.job))


def one_string(field: str) -> InvalidArgumentError:
    """The error for a string where a list of strings is meant; it would be read by letters."""
    return InvalidArgumentError.at(field, "is one string; give a list of texts")


def get(job_id: str) -> Call[Job]:
    """The job now."""
    return call(GET, pb.GetScoringJobRequest(job_id=job_id), lambda r: parse_job(r.job))


def list_page(states: Iterable[JobState | str], page_size: int, page_token: str) -> Call[Page[Job]]:
    """One page of jobs, newest first; raises InvalidArgumentError for an unknown state."""
    values = []
    for state in states:
        if state not in JobState.__members__:
            raise InvalidArgumentError.at(
                "states", f"{str(state)!r} is none of {', '.join(JobState)}"
            )
        values.append(pb.JobState.Value(f"{_PREFIX}{state}"))
    request = pb.ListScoringJobsRequest(page_size=page_size, page_token=page_token, states=values)
    return call(LIST, request, lambda r: Page([parse_job(j) for j in r.jobs], r.next_page_token))


def cancel(job_id: str) -> Call[Job]:
    """Stops the job."""
    return call(CANCEL, pb.CancelScoringJobRequest(job_id=job_id), lambda r: parse_job(r.job))


def pause(job_id: str) -> Call[Job]:
    """Holds back what is not yet leased."""
    return call(PAUSE, pb.PauseScoringJobRequest(job_id=job_id), lambda r: parse_job(r.job))


def resume(job_id: str) -> Call[Job]:
    """Continues a paused job."""
    return call(RESUME, pb.ResumeScoringJobRequest(job_id=job_id), lambda r: parse_job(r.job))


def delete(job_id: str) -> Call[None]:
    """Deletes a finished job with its results."""
    request = pb.DeleteScoringJobRequest(job_id=job_id)
    return call(DELETE, request, lambda _: None, repeatable=False)


class JobWatch(Cursor[Job]):
    """The job after every change, until it is final."""

    method = WATCH

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._final = False

    def request(self) -> pb.WatchScoringJobRequest:
        """Asks for the job now and from now on."""
        return pb.WatchScoringJobRequest(job_id=self._job_id)

    def receive(self, response: pb.WatchScoringJobResponse) -> Job:
        """The job as sent."""
        job = parse_job(response.job)
        self._final = job.state.final
        return job

    def complete(self, *, ended: bool) -> bool:  # noqa: ARG002
        """True after a final state; a server that closes earlier is asked again."""
        return self._final


def check_outcome(job: Job, received: int) -> None:
    """Raises unless `job` ended with `received` rows, one for every text.

    Raises:
        CancelledError: the job was cancelled.
        DeadlineError: it expired.
        LabelmillError: it failed, or rows are missing; the class goes by the job's reason.
    """
    check_stopped(job)
    if received != job.total:
        raise InternalError(
            f"job {job.id} has {job.total} texts but {received} results arrived; read them "
            f"again with `labelmill jobs results {job.id}`"
        )


def check_stopped(job: Job) -> None:
    """Raises as `check_outcome` when `job` has ended without a result for every text."""
    if job.state is JobState.CANCELLING or (job.state.final and not job.state.successful):
        raise failure(job.id, job.state, job.error)


def failure(
    job_id: str,
    state: JobState,
    error: ItemError | None,
    fields: Mapping[str, str] | None = None,
) -> LabelmillError:
    """The exception for a job that ended in `state` with `error`, which may name `fields`."""
    metadata = {"job_id": job_id}
    if state in (JobState.CANCELLED, JobState.CANCELLING):
        return CancelledError(f"job {job_id} was cancelled", metadata=metadata)
    if error is not None:
        cls = by_reason().get(error.reason, LabelmillError)
        violations = [FieldViolation(*pair) for pair in (fields or {}).items()]
        message = f"job {job_id} failed: {error.message}"
        return cls(message, violations=violations, metadata=metadata)
    if state is JobState.EXPIRED:
        return DeadlineError(f"job {job_id} expired before it was done", metadata=metadata)
    return LabelmillError(f"job {job_id} ended as {state}", metadata=metadata)
