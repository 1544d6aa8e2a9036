"""Scoring jobs as a server sees them: create, fill, seal, read, stop. Async.

Does not lease or commit chunks; that is the workers' side (labelmill.queue.leases).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from labelmill.errors import (
    FailedPreconditionError,
    JobNotFoundError,
    OffsetGapError,
    OverloadedError,
    RequestIdReusedError,
)
from labelmill.internal.v1.queue_pb2 import ChunkInput, ChunkOutput
from labelmill.names import engine_family
from labelmill.queue import durability, scripts
from labelmill.queue.cancellation import raise_if_cancelled
from labelmill.queue.codec import pack, unpack
from labelmill.queue.job import JobRecord, NewJob
from labelmill.queue.keys import Keys, new_job_id, shard_of
from labelmill.queue.listing import Place, newest
from labelmill.queue.streams import entries_of
from labelmill.v1.scoring_pb2 import ScoringItem, ScoringResult

#: Texts a chunk holds at most.
CHUNK_TEXTS = 256

#: Bytes of text a chunk holds at most, unless one text alone is larger. Sentences compress to less
#: than half, so that chunks stay below 64 KiB in Redis.
CHUNK_BYTES = 128 * 1024

#: How long a request_id is remembered, in ms.
_REQUEST_TTL_MS = 24 * 3600 * 1000

#: Seconds until a caller over quota should try again.
_QUOTA_RETRY_S = 1.0

#: Chunks that one reading of results looks at, at most.
_CHUNKS_A_READ = 1024

#: How long one wait for a job's next change lasts, in ms.
_WATCH_BLOCK_MS = 1000


@dataclass(frozen=True)
class Cursor:
    """A place in a job's results: `offset` texts into the chunk that starts at `chunk`."""

    chunk: int = 0
    offset: int = 0


class JobStore:
    """Scoring jobs in one Redis. Every method raises redis errors as they are.

    Args:
        client: connection pool.
        max_queued_texts: texts that may wait per tenant.
    """

    def __init__(
        self, client: redis.asyncio.Redis, *, max_queued_texts: int = 50_000_000, shard: int = 0
    ) -> None:
        # redis-py's annotations cannot tell bytes from str.
        self._redis: Any = client
        self._max_queued_texts = max_queued_texts
        self._shard = shard
        self._keys = Keys(shard)
        names = ("create", "append", "seal", "stop", "pause")
        self._scripts = {name: client.register_script(scripts.source(name)) for name in names}

    async def create(self, new: NewJob, *, request_id: str = "", digest: bytes = b"") -> JobRecord:
        """Creates an empty job; with `request_id`, or returns the one it made before.

        Args:
            new: what is pinned at creation.
            request_id: idempotency key; empty for none.
            digest: bytes that the same request has again.

        Raises:
            RequestIdReusedError: the id came with another digest before.
        """
        job = new_job_id("score", self._shard)
        made = await self._script(
            "create",
            [
                self._keys.job(job),
                self._keys.request(new.tenant, request_id),
                self._keys.jobs(),
                self._keys.active(),
            ],
            [
                job,
                hashlib.sha256(digest).hexdigest(),
                _REQUEST_TTL_MS if request_id else 0,
                *new.fields(),
            ],
        )
        if made == b"REUSED":
            raise RequestIdReusedError(
                f"request_id: {request_id} was used for a different request; make a new UUID4"
            )
        return await self.get(made.decode())

    async def append(self, record: JobRecord, offset: int, items: Sequence[ScoringItem]) -> int:
        """Adds texts; those the job already holds are skipped.

        Args:
            record: the job, as read before.
            offset: index of the first item within the job.
            items: texts in order.

        Returns:
            Texts the job now holds: the next offset.

        Raises:
            OffsetGapError: `offset` is beyond what the job holds.
            FailedPreconditionError: the job is sealed, stopping or final.
            OverloadedError: the tenant has too many texts waiting.
            JobNotFoundError: the job is gone.
        """
        held = record.total
        for first, texts in _chunks(offset, items):
            if first + len(texts) <= held:
                continue
            if first < held:
                texts, first = texts[held - first :], held
            verdict, count = await self._append_chunk(record, first, texts)
            held = int(count)
            if verdict not in (b"OK", b"HELD"):
                raise self._refusal(record, verdict.decode(), offset, held)
        return held

    async def _append_chunk(
        self, record: JobRecord, first: int, items: Sequence[ScoringItem]
    ) -> Any:
        k, job = self._keys, record.id
        pool = engine_family(record.engine)
        return await self._script(
            "append",
            [
                k.job(job),
                k.chunks(job),
                k.states(job),
                k.chunk_input(job, first),
                k.ring(pool),
                k.tenant_ring(pool, record.tenant),
                k.usage(record.tenant),
                k.bell(pool),
                k.events(job),
            ],
            [job, first, len(items), pack(ChunkInput(items=items)), self._max_queued_texts],
        )

    def _refusal(self, record: JobRecord, verdict: str, offset: int, held: int) -> Exception:
        if verdict == "GONE":
            return _gone(record.id)
        if verdict == "GAP":
            return OffsetGapError(
                f"offset: {offset} leaves a gap; job {record.id} holds {held} texts, go on there",
                metadata={"expected_offset": str(held)},
            )
        if verdict == "OVER":
            return OverloadedError(
                f"tenant {record.tenant} has {self._max_queued_texts} texts waiting, its limit; "
                "wait until some are scored",
                retry_after_s=_QUOTA_RETRY_S,
                metadata={"expected_offset": str(held), "subject": f"tenant:{record.tenant}"},
            )
        return FailedPreconditionError(
            f"job {record.id} is {verdict} and takes no more texts; create another"
        )

    async def seal(self, job: str) -> JobRecord:
        """Closes a job for uploads; it can finish from now on. Durable when this returns."""
        record = await self.get(job)
        k, pool = self._keys, engine_family(record.engine)
        await self._script(
            "seal",
            [
                k.job(job),
                k.chunks(job),
                k.active(),
                k.expire(),
                k.ring(pool),
                k.tenant_ring(pool, record.tenant),
                k.usage(record.tenant),
                k.sweep(),
                k.events(job),
            ],
            [job],
        )
        await durability.wait(self._redis)
        return await self.get(job)

    async def get(self, job: str) -> JobRecord:
        """The job; raises JobNotFoundError."""
        _check_id(job)
        fields = await self._redis.hgetall(self._keys.job(job))
        if not fields:
            raise _gone(job)
        return JobRecord.parse(job, fields)

    async def newest(
        self, *, after: Place | None, limit: int
    ) -> tuple[list[JobRecord], Place | None]:
        """A page of jobs, newest first, and where it ended; None when there are no more."""
        places = await newest(self._redis, self._keys.jobs(), after, limit)
        pipe = self._redis.pipeline(transaction=False)
        for place in places:
            pipe.hgetall(self._keys.job(place.id))
        rows = await pipe.execute() if places else []
        records = [
            JobRecord.parse(place.id, fields)
            for place, fields in zip(places, rows, strict=True)
            if fields
        ]
        return records, places[-1] if len(places) == limit else None

    async def waiting(self, tenant: str) -> int:
        """Texts of the tenant's jobs that wait for a result."""
        return int(await self._redis.hget(self._keys.usage(tenant), "texts") or 0)

    async def item_errors(self, job: str) -> dict[str, int]:
        """Texts that failed, by reason."""
        counts = await self._redis.hgetall(self._keys.item_errors(job))
        return {reason.decode(): int(count) for reason, count in counts.items()}

    async def watch(self, job: str) -> AsyncGenerator[JobRecord, None]:
        """The job now and after every change, until it is final."""
        seen = await self._newest_event(job)
        while True:
            raise_if_cancelled()
            record = await self.get(job)
            yield record
            if record.final:
                return
            seen = await self.wait(job, seen)

    async def wait(self, job: str, seen: bytes) -> bytes:
        """Returns after the first event beyond `seen`, or after a second without one."""
        raise_if_cancelled()
        reply = await self._redis.xread(
            {self._keys.events(job): seen}, block=_WATCH_BLOCK_MS, count=64
        )
        if not reply:
            return seen
        newest: bytes = entries_of(reply)[0][1][-1][0]
        return newest

    async def _newest_event(self, job: str) -> bytes:
        newest = await self._redis.xrevrange(self._keys.events(job), count=1)
        return newest[0][0] if newest else b"0"

    async def stop(self, job: str) -> JobRecord:
        """Cancels the job; raises FailedPreconditionError when it ended otherwise."""
        record = await self.get(job)
        k, pool = self._keys, engine_family(record.engine)
        verdict = await self._script(
            "stop",
            [
                k.job(job),
                k.chunks(job),
                k.active(),
                k.expire(),
                k.ring(pool),
                k.tenant_ring(pool, record.tenant),
                k.usage(record.tenant),
                k.events(job),
                k.sweep(),
            ],
            [job, "CANCELLED", "", ""],
        )
        before = verdict[0].decode() if verdict else "gone"
        if before in ("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "EXPIRED", "gone"):
            raise FailedPreconditionError(f"job {job} is {before}; there is nothing to cancel")
        return await self.get(job)

    async def pause(self, job: str, *, resume: bool = False) -> JobRecord:
        """Pauses or resumes the job; raises FailedPreconditionError when its state forbids it."""
        record = await self.get(job)
        k, pool = self._keys, engine_family(record.engine)
        verdict = await self._script(
            "pause",
            [
                k.job(job),
                k.ring(pool),
                k.tenant_ring(pool, record.tenant),
                k.bell(pool),
                k.events(job),
            ],
            [job, "RESUME" if resume else "PAUSE"],
        )
        now = verdict[1].decode() if verdict else "gone"
        if now not in (("QUEUED", "RUNNING") if resume else ("PAUSED",)):
            action = "resumed" if resume else "paused"
            raise FailedPreconditionError(f"job {job} is {now} and cannot be {action}")
        return await self.get(job)

    async def delete(self, job: str) -> None:
        """Frees a final job and its results; raises FailedPreconditionError before that."""
        record = await self.get(job)
        if not record.final:
            raise FailedPreconditionError(f"job {job} is {record.state}; cancel it first")
        async for chunk, _, _ in self._states(job):
            await self._redis.unlink(
                self._keys.chunk_input(job, chunk), self._keys.chunk_output(job, chunk)
            )
        k = self._keys
        pipe = self._redis.pipeline()
        pipe.unlink(k.states(job), k.chunks(job), k.item_errors(job), k.events(job), k.job(job))
        pipe.zrem(k.jobs(), job)
        pipe.zrem(k.expire(), job)
        pipe.srem(k.sweep(), job)
        await pipe.execute()

    async def _states(self, job: str) -> AsyncIterator[tuple[int, str, int]]:
        async for chunk, line in self._redis.hscan_iter(self._keys.states(job), count=500):
            state, texts, _ = line.decode().split(":", 2)
            yield int(chunk), state, int(texts)

    async def results(
        self, job: str, cursor: Cursor, limit: int, *, skip_gaps: bool = False
    ) -> tuple[list[ScoringResult], Cursor]:
        """Results from `cursor` in input order, up to `limit`, and the cursor after them.

        Stops early at the first text whose result is not there yet. With `skip_gaps`, for a job
        that is final, goes on after texts that were never scored; there is more as long as the
        cursor moves.
        """
        rows: list[ScoringResult] = []
        for _ in range(_CHUNKS_A_READ):
            if len(rows) >= limit:
                break
            line = await self._redis.hget(self._keys.states(job), str(cursor.chunk))
            if line is None:
                break
            if not line.startswith(b"D:"):
                if not skip_gaps:
                    break
                cursor = Cursor(cursor.chunk + int(line.split(b":")[1]), 0)
                continue
            payload = await self._redis.get(self._keys.chunk_output(job, cursor.chunk))
            if payload is None:
                raise _gone(job)
            chunk = unpack(ChunkOutput, payload).results
            taken = chunk[cursor.offset : cursor.offset + limit - len(rows)]
            rows.extend(taken)
            offset = cursor.offset + len(taken)
            if offset < len(chunk):
                cursor = Cursor(cursor.chunk, offset)
            else:
                cursor = Cursor(cursor.chunk + len(chunk), 0)
        return rows, cursor

    async def durable(self) -> None:
        """Waits until what was written is on disk, where the server can say so."""
        await durability.wait(self._redis)

    async def _script(self, name: str, keys: list[str], args: list[Any]) -> Any:
        return await self._scripts[name](keys=keys, args=args)


def _chunks(offset: int, items: Sequence[ScoringItem]) -> list[tuple[int, Sequence[ScoringItem]]]:
    """Cuts items into chunks of at most CHUNK_TEXTS texts and CHUNK_BYTES bytes."""
    cuts: list[tuple[int, Sequence[ScoringItem]]] = []
    start, size = 0, 0
    for index, item in enumerate(items):
        length = len(item.text.encode())
        if index > start and (index - start == CHUNK_TEXTS or size + length > CHUNK_BYTES):
            cuts.append((offset + start, items[start:index]))
            start, size = index, 0
        size += length
    if start < len(items):
        cuts.append((offset + start, items[start:]))
    return cuts


def _check_id(job: str) -> None:
    try:
        shard_of(job)
    except ValueError:
        raise _gone(job) from None


def _gone(job: str) -> JobNotFoundError:
    return JobNotFoundError(f"there is no job {job!r}, or its retention has ended")
