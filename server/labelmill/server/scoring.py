"""ScoringJobService: jobs of any number of texts that outlive every connection."""

# ruff: noqa: ARG002, N802 - names and arguments are those of the generated base class

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

from labelmill.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    LabelmillError,
    OffsetGapError,
)
from labelmill.queue.job import JobRecord, NewJob
from labelmill.queue.jobs import Cursor, JobStore
from labelmill.queue.listing import Place
from labelmill.server import pages, validate
from labelmill.server.admission import Admission
from labelmill.server.following import Following
from labelmill.server.messages import scoring_job
from labelmill.server.resolve import Resolver
from labelmill.server.stores import Stores
from labelmill.v1 import scoring_pb2 as pb
from labelmill.v1.scoring_pb2_grpc import ScoringJobServiceServicer

#: How long results are kept after the end of a job, in days.
_DEFAULT_RETENTION_DAYS, _MAX_RETENTION_DAYS = 7, 90

#: Least time between two messages of a watch, in s.
_WATCH_EVERY_S = 0.1

#: Results in one message of a stream.
_STREAM_RESULTS = 1000

#: Results read from the queue at a time.
_READ_RESULTS = 1000

#: Bytes of results after which a page or message is full.
_FULL_BYTES = 4 << 20

#: Jobs looked at in one ListScoringJobs call that filters by state.
_MAX_SCANNED = 10_000


class Rows(NamedTuple):
    """Results, the place after them, and whether there will never be more."""

    results: list[pb.ScoringResult]
    cursor: Cursor
    last: bool


class ScoringJobService(ScoringJobServiceServicer):
    """Bulk jobs."""

    def __init__(
        self, stores: Stores, resolver: Resolver, admission: Admission, following: Following
    ) -> None:
        self._jobs = stores.jobs
        self._followed = stores.followed_jobs
        self._resolver = resolver
        self._admission = admission
        self._following = following

    async def CreateScoringJob(
        self, request: pb.CreateScoringJobRequest, context: Any
    ) -> pb.CreateScoringJobResponse:
        """See scoring.proto."""
        new = await self._new_job(request, validate.tenant(context))
        await self._admission.texts(new.tenant, len(request.inline_items.items))
        request_id, request.request_id = request.request_id, ""
        record = await self._jobs.create(
            new, request_id=request_id, digest=request.SerializeToString(deterministic=True)
        )
        if request.WhichOneof("input") == "upload_pending":
            await self._jobs.durable()
        else:
            record = await self._fill(record, request, keep=bool(request_id))
        return pb.CreateScoringJobResponse(job=scoring_job(record))

    async def _new_job(self, request: pb.CreateScoringJobRequest, tenant: str) -> NewJob:
        validate.request_id(request.request_id)
        _check_input(request)
        validate.options(request.options)
        validate.choice(request.priority, pb.JobPriority, "priority")
        validate.name(request.display_name, "display_name")
        max_failed = 1.0
        if request.HasField("max_failed_fraction"):
            max_failed = request.max_failed_fraction
            validate.share(max_failed, "max_failed_fraction")
        deadline_ms, retention_ms = 0, _DEFAULT_RETENTION_DAYS * 86_400_000
        if request.HasField("deadline"):
            deadline_ms = validate.moment_ms(request.deadline, "deadline")
        if request.HasField("retention"):
            retention_ms = validate.duration_ms(
                request.retention, "retention", most_days=_MAX_RETENTION_DAYS
            )
        manifest = await self._resolver.version(request.model)
        priority = request.priority or pb.JOB_PRIORITY_NORMAL
        return NewJob(
            tenant=tenant,
            model=manifest.model,
            version=manifest.version,
            engine=self._resolver.pinned(manifest, request.engine),
            priority=pb.JobPriority.Name(priority).removeprefix("JOB_PRIORITY_"),
            options=request.options,
            max_failed_fraction=max_failed,
            retention_ms=retention_ms,
            deadline_ms=deadline_ms,
            display_name=request.display_name,
        )

    async def _fill(
        self, record: JobRecord, request: pb.CreateScoringJobRequest, *, keep: bool
    ) -> JobRecord:
        try:
            await self._jobs.append(record, 0, request.inline_items.items)
        except LabelmillError:
            # With a request_id the caller's next try goes on where this one ended.
            if not keep:
                await self._jobs.stop(record.id)
                await self._jobs.delete(record.id)
            raise
        return await self._jobs.seal(record.id)

    async def UploadScoringItems(
        self, request_iterator: AsyncIterator[pb.UploadScoringItemsRequest], context: Any
    ) -> pb.UploadScoringItemsResponse:
        """See scoring.proto."""
        record: JobRecord | None = None
        async for message in request_iterator:
            if record is None:
                if not message.job_id:
                    raise InvalidArgumentError.at("job_id", "is empty in the first message")
                record = await self._jobs.get(message.job_id)
            if message.offset < 0:
                raise InvalidArgumentError.at("offset", f"is {message.offset}; use 0 or more")
            if message.ByteSize() > validate.MAX_UPLOAD_BYTES and len(message.items) > 1:
                raise InvalidArgumentError.at(
                    "items",
                    f"have {message.ByteSize()} bytes; send at most "
                    f"{validate.MAX_UPLOAD_BYTES >> 20} MiB a message",
                )
            validate.items(message.items, "items")
            self._admission.memory()
            await self._jobs.append(record, message.offset, message.items)
            if message.seal:
                return await self._sealed(record, message)
        if record is None:
            raise InvalidArgumentError.at("job_id", "is missing: the stream had no message")
        return pb.UploadScoringItemsResponse(job=scoring_job(await self._jobs.get(record.id)))

    async def _sealed(
        self, record: JobRecord, message: pb.UploadScoringItemsRequest
    ) -> pb.UploadScoringItemsResponse:
        end = message.offset + len(message.items)
        held = (await self._jobs.get(record.id)).total
        if held != end:
            kind = OffsetGapError if held < end else FailedPreconditionError
            raise kind(
                f"offset: the last message ends at text {end}, but job {record.id} holds {held}; "
                "read its upload_offset and go on there",
                metadata={"expected_offset": str(held)},
            )
        record = await self._jobs.seal(record.id)
        if not record.sealed:
            raise FailedPreconditionError(
                f"job {record.id} is {record.state} and takes no more texts; create another"
            )
        return pb.UploadScoringItemsResponse(job=scoring_job(record))

    async def GetScoringJob(
        self, request: pb.GetScoringJobRequest, context: Any
    ) -> pb.GetScoringJobResponse:
        """See scoring.proto."""
        return pb.GetScoringJobResponse(job=scoring_job(await self._jobs.get(request.job_id)))

    async def ListScoringJobs(
        self, request: pb.ListScoringJobsRequest, context: Any
    ) -> pb.ListScoringJobsResponse:
        """See scoring.proto."""
        size = pages.page_size(request.page_size, default=100, most=1000)
        after = place_of("jobs", request.page_token)
        for index, state in enumerate(request.states):
            validate.choice(state, pb.JobState, f"states[{index}]")
        wanted = {pb.JobState.Name(state).removeprefix("JOB_STATE_") for state in request.states}
        response = pb.ListScoringJobsResponse()
        scanned = 0
        while len(response.jobs) < size and scanned < _MAX_SCANNED:
            left = size - len(response.jobs)
            records, after = await self._jobs.newest(after=after, limit=left)
            scanned += left
            response.jobs.extend(
                scoring_job(record) for record in records if not wanted or record.state in wanted
            )
            if after is None:
                break
        if after is not None:
            response.next_page_token = pages.token("jobs", *after)
        return response

    async def WatchScoringJob(
        self, request: pb.WatchScoringJobRequest, context: Any
    ) -> AsyncIterator[pb.WatchScoringJobResponse]:
        """See scoring.proto."""
        async with aclosing(self._following.follow(self._changes(request.job_id))) as changes:
            async for record in changes:
                yield pb.WatchScoringJobResponse(job=scoring_job(record))

    async def _changes(self, job: str) -> AsyncGenerator[JobRecord, None]:
        last: JobRecord | None = None
        async with aclosing(self._followed.watch(job)) as records:
            async for record in records:
                if record == last:
                    continue
                last = record
                sent = time.monotonic()
                yield record
                if not record.final:
                    await asyncio.sleep(max(0.0, sent + _WATCH_EVERY_S - time.monotonic()))

    async def CancelScoringJob(
        self, request: pb.CancelScoringJobRequest, context: Any
    ) -> pb.CancelScoringJobResponse:
        """See scoring.proto."""
        return pb.CancelScoringJobResponse(job=scoring_job(await self._jobs.stop(request.job_id)))

    async def PauseScoringJob(
        self, request: pb.PauseScoringJobRequest, context: Any
    ) -> pb.PauseScoringJobResponse:
        """See scoring.proto."""
        return pb.PauseScoringJobResponse(job=scoring_job(await self._jobs.pause(request.job_id)))

    async def ResumeScoringJob(
        self, request: pb.ResumeScoringJobRequest, context: Any
    ) -> pb.ResumeScoringJobResponse:
        """See scoring.proto."""
        record = await self._jobs.pause(request.job_id, resume=True)
        return pb.ResumeScoringJobResponse(job=scoring_job(record))

    async def DeleteScoringJob(
        self, request: pb.DeleteScoringJobRequest, context: Any
    ) -> pb.DeleteScoringJobResponse:
        """See scoring.proto."""
        await self._jobs.delete(request.job_id)
        return pb.DeleteScoringJobResponse()

    async def ListScoringResults(
        self, request: pb.ListScoringResultsRequest, context: Any
    ) -> pb.ListScoringResultsResponse:
        """See scoring.proto."""
        size = pages.page_size(request.page_size, default=1000, most=10_000)
        cursor = _cursor_of(request.job_id, request.page_token, "page_token")
        rows = await self._rows(self._jobs, request.job_id, cursor, size)
        return pb.ListScoringResultsResponse(
            results=rows.results,
            next_page_token="" if rows.last else _token_of(request.job_id, rows.cursor),
        )

    async def StreamScoringResults(
        self, request: pb.StreamScoringResultsRequest, context: Any
    ) -> AsyncIterator[pb.StreamScoringResultsResponse]:
        """See scoring.proto."""
        cursor = _cursor_of(request.job_id, request.resume_token, "resume_token")
        batches = self._following.follow(self._batches(request.job_id, cursor))
        async with aclosing(batches):
            async for rows in batches:
                yield pb.StreamScoringResultsResponse(
                    results=rows.results, resume_token=_token_of(request.job_id, rows.cursor)
                )

    async def _batches(self, job: str, cursor: Cursor) -> AsyncGenerator[Rows, None]:
        seen = b"0"
        while True:
            rows = await self._rows(self._followed, job, cursor, _STREAM_RESULTS)
            if rows.results:
                yield rows
            if rows.last:
                return
            if rows.cursor == cursor:
                seen = await self._followed.wait(job, seen)
            cursor = rows.cursor

    async def _rows(self, store: JobStore, job: str, cursor: Cursor, limit: int) -> Rows:
        # Read before the results: what a final job lacks now it will never have.
        record = await store.get(job)
        results: list[pb.ScoringResult] = []
        size = 0
        while len(results) < limit and size < _FULL_BYTES:
            wanted = min(limit - len(results), _READ_RESULTS)
            found, after = await store.results(job, cursor, wanted, skip_gaps=record.final)
            results += found
            size += sum(row.ByteSize() for row in found)
            if after == cursor:
                return Rows(results, cursor, last=record.final)
            cursor = after
        return Rows(results, cursor, last=record.final and cursor.chunk >= record.total)


def _check_input(request: pb.CreateScoringJobRequest) -> None:
    match request.WhichOneof("input"):
        case "inline_items":
            if not request.inline_items.items:
                raise InvalidArgumentError.at(
                    "inline_items.items",
                    f"is empty; send 1 to {validate.MAX_ITEMS} texts, or set upload_pending",
                )
            validate.items(request.inline_items.items, "inline_items.items")
        case "upload_pending" if request.upload_pending:
            return
        case _:
            raise InvalidArgumentError.at(
                "inline_items", "is missing; send texts there, or set upload_pending to true"
            )


def place_of(kind: str, token: str) -> Place | None:
    """The place in a list of jobs that a page token stands for."""
    if not token:
        return None
    created, job = pages.values_of(kind, token, int, str)
    return Place(int(created), str(job))


def _token_of(job: str, cursor: Cursor) -> str:
    return pages.token("results", job, cursor.chunk, cursor.offset)


def _cursor_of(job: str, token: str, field: str) -> Cursor:
    if not token:
        return Cursor()
    owner, chunk, offset = pages.values_of("results", token, str, int, int, field=field)
    if owner != job:
        raise InvalidArgumentError.at(field, "belongs to another job; start without one")
    return Cursor(int(chunk), int(offset))
