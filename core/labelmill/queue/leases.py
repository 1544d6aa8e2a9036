"""Chunks as a worker sees them: lease, beat, commit, give back, split, reap. Sync, thread-safe.

A lease is fenced by its token: once it is lost, neither beat nor commit is accepted.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import redis

from labelmill.internal.v1.queue_pb2 import ChunkInput, ChunkOutput
from labelmill.names import engine_family
from labelmill.queue import scripts
from labelmill.queue.codec import pack, unpack
from labelmill.queue.job import JobRecord
from labelmill.queue.keys import GROUP, Keys
from labelmill.v1.scoring_pb2 import ScoringItem, ScoringResult

#: A lease not beaten for this long is lost, in ms.
LEASE_MS = 60_000

#: Errors after which a chunk is bisected, or its single text given up.
MAX_ERRORS = 3

#: Lost leases after which a chunk is bisected, or its single text given up.
MAX_LOSSES = 2

#: First and longest back-off after an error, in ms; full jitter.
_BACKOFF_FIRST_MS, _BACKOFF_LONGEST_MS = 500, 60_000

#: Entries handled in one round of reaping a job or promoting retries.
_ROUND = 100

Release = Literal["RETURNED", "ERROR", "LOST"]


@dataclass(frozen=True)
class Lease:
    """The right to score one chunk, as long as `token` is the newest."""

    job: JobRecord
    #: Index of the chunk's first text within the job; also its name.
    chunk: int
    texts: int
    errors: int
    losses: int
    token: str

    @property
    def exhausted(self) -> bool:
        """Whether the chunk has failed too often to be tried as a whole again."""
        return self.errors >= MAX_ERRORS or self.losses >= MAX_LOSSES


class Leases:
    """The workers' side of scoring jobs. Every method raises redis errors as they are.

    Args:
        client: connection pool that does not retry by itself.
        worker: name of this worker; the streams' consumer.
        lease_ms: idle time after which a lease counts as lost.
    """

    def __init__(
        self, client: redis.Redis, worker: str, *, lease_ms: int = LEASE_MS, shard: int = 0
    ) -> None:
        # redis-py's annotations cannot tell bytes from str.
        self._redis: Any = client
        self._worker = worker
        self._lease_ms = lease_ms
        self._keys = Keys(shard)
        names = ("lease", "beat", "commit", "release", "split", "promote", "stop")
        self._scripts = {name: client.register_script(scripts.source(name)) for name in names}

    def lease(self, pools: Sequence[str]) -> Lease | None:
        """The next chunk by weighted fair queueing, from the first of `pools` that has one."""
        for pool in pools:
            while True:
                picked = self._pick(pool)
                if picked is None:
                    break
                tenant, job = picked
                if lease := self._lease_from(pool, tenant, job):
                    return lease
        return None

    def _pick(self, pool: str) -> tuple[str, str] | None:
        tenants = self._redis.zrange(self._keys.ring(pool), 0, 0)
        if not tenants:
            return None
        tenant = tenants[0].decode()
        jobs = self._redis.zrange(self._keys.tenant_ring(pool, tenant), 0, 0)
        # A tenant ring emptied since is cleaned up by the lease script.
        return tenant, jobs[0].decode() if jobs else ""

    def _lease_from(self, pool: str, tenant: str, job: str) -> Lease | None:
        k, token = self._keys, uuid.uuid4().hex
        answer = self._scripts["lease"](
            keys=[
                k.job(job),
                k.chunks(job),
                k.states(job),
                k.ring(pool),
                k.tenant_ring(pool, tenant),
                k.events(job),
            ],
            args=[job, tenant, self._worker, token],
        )
        if not answer:
            return None
        chunk, texts, errors, losses = (int(value) for value in answer)
        record = JobRecord.parse(job, self._redis.hgetall(k.job(job)))
        return Lease(record, chunk, texts, errors, losses, token)

    def read(self, lease: Lease) -> list[ScoringItem] | None:
        """The chunk's texts, or None when the lease was lost and the chunk done by another."""
        payload = self._redis.get(self._keys.chunk_input(lease.job.id, lease.chunk))
        return None if payload is None else list(unpack(ChunkInput, payload).items)

    def beat(self, lease: Lease) -> Literal["HELD", "STALE", "STOP"]:
        """Keeps the lease; STALE when it was lost, STOP when the job was stopped."""
        k, job = self._keys, lease.job.id
        answer: bytes = self._scripts["beat"](
            keys=[k.job(job), k.chunks(job), k.states(job)],
            args=[self._worker, lease.chunk, lease.token],
        )
        return answer.decode()  # type: ignore[return-value]

    def commit(
        self, lease: Lease, results: Sequence[ScoringResult], tokens: int
    ) -> Literal["COMMITTED", "STALE"]:
        """Makes the results visible; STALE, and nothing changed, when the lease was lost."""
        k, job, tenant = self._keys, lease.job.id, lease.job.tenant
        pool = engine_family(lease.job.engine)
        reasons: dict[str, int] = {}
        for row in results:
            if row.result.HasField("error"):
                reasons[row.result.error.reason] = reasons.get(row.result.error.reason, 0) + 1
        answer: bytes = self._scripts["commit"](
            keys=[
                k.job(job),
                k.chunks(job),
                k.states(job),
                k.chunk_input(job, lease.chunk),
                k.chunk_output(job, lease.chunk),
                k.item_errors(job),
                k.active(),
                k.expire(),
                k.ring(pool),
                k.tenant_ring(pool, tenant),
                k.usage(tenant),
                k.events(job),
                k.sweep(),
            ],
            args=[
                job,
                lease.chunk,
                lease.token,
                pack(ChunkOutput(results=results)),
                sum(reasons.values()),
                tokens,
                *_flat(reasons),
            ],
        )
        return answer.decode()  # type: ignore[return-value]

    def release(self, lease: Lease, why: Release) -> bool:
        """Gives the chunk back; after an error with a delay. False when the lease was lost."""
        # With its last try used up the chunk is only split, which needs no waiting for.
        retry = why == "ERROR" and lease.errors + 1 < MAX_ERRORS
        delay = backoff_ms(lease.errors) if retry else 0
        return self._release(lease.job, lease.chunk, lease.token, why, delay)

    def _release(
        self,
        record: JobRecord,
        chunk: int,
        token: str,
        why: Release,
        delay_ms: int,
        least_idle_ms: int = 0,
    ) -> bool:
        k, job = self._keys, record.id
        pool = engine_family(record.engine)
        answer = self._scripts["release"](
            keys=[
                k.job(job),
                k.chunks(job),
                k.states(job),
                k.delayed(),
                k.ring(pool),
                k.tenant_ring(pool, record.tenant),
                k.active(),
                k.expire(),
                k.usage(record.tenant),
                k.bell(pool),
                k.events(job),
                k.sweep(),
            ],
            args=[job, chunk, token, why, delay_ms, least_idle_ms],
        )
        return bool(answer == b"RELEASED")

    def split(self, lease: Lease, items: Sequence[ScoringItem]) -> bool:
        """Bisects an exhausted chunk; each half gets one more try. False for a lost lease."""
        k, job, tenant = self._keys, lease.job.id, lease.job.tenant
        pool = engine_family(lease.job.engine)
        half = len(items) // 2
        second = lease.chunk + half
        answer = self._scripts["split"](
            keys=[
                k.job(job),
                k.chunks(job),
                k.states(job),
                k.chunk_input(job, lease.chunk),
                k.chunk_input(job, second),
                k.ring(pool),
                k.tenant_ring(pool, tenant),
                k.bell(pool),
                k.events(job),
            ],
            args=[
                job,
                lease.chunk,
                lease.token,
                half,
                pack(ChunkInput(items=items[:half])),
                second,
                pack(ChunkInput(items=items[half:])),
                min(lease.errors, MAX_ERRORS - 1),
                min(lease.losses, MAX_LOSSES - 1),
            ],
        )
        return bool(answer == b"SPLIT")

    def wait(self, pools: Sequence[str], timeout_s: float) -> None:
        """Returns when new work may be there, at the latest after `timeout_s`."""
        self._redis.blpop([self._keys.bell(pool) for pool in pools], timeout=timeout_s)

    def reap(self, dead: Sequence[str] = ()) -> int:
        """Takes back lost leases, ends overdue jobs and frees what nobody needs.

        Any worker may run it at any time.

        Args:
            dead: workers that no longer announce themselves; their leases are lost at once, not
                after `lease_ms`. One that only slept is fenced off like any other.

        Returns:
            The number of leases taken back.
        """
        reaped = 0
        for job in self._redis.smembers(self._keys.active()):
            record = self._record(job.decode())
            if record is None:
                continue
            reaped += self._reap_job(record, None, self._lease_ms)
            for worker in dead:
                reaped += self._reap_job(record, worker, 0)
            if record.deadline and self._now_ms() > record.deadline:
                self._stop(
                    record,
                    "EXPIRED",
                    "DEADLINE_EXCEEDED",
                    "the job was not done by its deadline; results so far are kept",
                )
        self._sweep()
        self._purge()
        return reaped

    def _record(self, job: str) -> JobRecord | None:
        fields = self._redis.hgetall(self._keys.job(job))
        return JobRecord.parse(job, fields) if fields else None

    def _now_ms(self) -> int:
        seconds, micros = self._redis.time()
        return int(seconds * 1000 + micros // 1000)

    def _reap_job(self, record: JobRecord, worker: str | None, idle_ms: int) -> int:
        stream = self._keys.chunks(record.id)
        try:
            lost = self._redis.xpending_range(
                stream, GROUP, min="-", max="+", count=_ROUND, consumername=worker, idle=idle_ms
            )
        except redis.exceptions.ResponseError as error:
            # A job without a chunk has no stream yet.
            if "NOGROUP" not in str(error):
                raise
            return 0
        taken = 0
        for entry in lost:
            rows = self._redis.xrange(stream, entry["message_id"], entry["message_id"])
            if not rows:
                continue
            chunk = int(rows[0][1][b"c"])
            line = self._redis.hget(self._keys.states(record.id), str(chunk))
            parts = line.decode().split(":") if line else []
            if len(parts) == 6 and parts[0] == "L":
                taken += self._release(record, chunk, parts[4], "LOST", 0, idle_ms)
        return taken

    def promote(self) -> None:
        """Opens chunks whose retry is due. Any worker may run it at any time."""
        k = self._keys
        due = self._redis.zrangebyscore(k.delayed(), 0, self._now_ms(), start=0, num=_ROUND)
        for member in due:
            job, chunk = member.decode().split(" ")
            record = self._record(job)
            if record is None:
                self._redis.zrem(k.delayed(), member)
                continue
            pool = engine_family(record.engine)
            self._scripts["promote"](
                keys=[
                    k.job(job),
                    k.chunks(job),
                    k.states(job),
                    k.delayed(),
                    k.ring(pool),
                    k.tenant_ring(pool, record.tenant),
                    k.bell(pool),
                ],
                args=[job, chunk],
            )

    def fail_job(self, record: JobRecord, reason: str, message: str) -> None:
        """Ends a job that no chunk of it can succeed in; results so far are kept."""
        self._stop(record, "FAILED", reason, message)

    def _stop(self, record: JobRecord, state: str, reason: str, message: str) -> None:
        k, job, pool = self._keys, record.id, engine_family(record.engine)
        self._scripts["stop"](
            keys=[
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
            args=[job, state, reason, message],
        )

    def _sweep(self) -> None:
        """Frees inputs of stopped jobs that will never be scored."""
        for member in self._redis.smembers(self._keys.sweep()):
            job = member.decode()
            for chunk, line in self._redis.hscan_iter(self._keys.states(job), count=500):
                if not line.startswith(b"D:"):
                    self._redis.unlink(self._keys.chunk_input(job, int(chunk)))
            self._redis.srem(self._keys.sweep(), member)

    def _purge(self) -> None:
        """Frees jobs whose retention has ended."""
        k = self._keys
        for member in self._redis.zrangebyscore(k.expire(), 0, self._now_ms(), start=0, num=10):
            job = member.decode()
            for chunk, _ in self._redis.hscan_iter(k.states(job), count=500):
                self._redis.unlink(k.chunk_input(job, int(chunk)), k.chunk_output(job, int(chunk)))
            self._redis.unlink(k.states(job), k.item_errors(job), k.events(job), k.job(job))
            self._redis.zrem(k.jobs(), job)
            self._redis.srem(k.sweep(), job)
            self._redis.zrem(k.expire(), job)


def backoff_ms(errors: int) -> int:
    """Full-jitter delay before the next try, in ms, at least 1."""
    ceiling = min(_BACKOFF_LONGEST_MS, _BACKOFF_FIRST_MS * 2**errors)
    return random.randint(1, ceiling)  # noqa: S311


def _flat(counts: Mapping[str, int]) -> list[str | int]:
    return [part for pair in counts.items() for part in pair]
