"""Every Redis key name. One hash tag per shard, so each mutation is one single-slot script.

Key layout and the meaning of each value: docs/queue.md.
"""

from __future__ import annotations

import uuid

#: Consumer group of every stream.
GROUP = "w"


class Keys:
    """Key names of one shard, all in one Cluster slot."""

    def __init__(self, shard: int = 0) -> None:
        self.shard = shard
        self._prefix = f"lm:{{q{shard}}}:"

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    # Scoring jobs.

    def job(self, job: str) -> str:
        """Hash: state, pinned version and engine, counters."""
        return self._key("job", job)

    def chunks(self, job: str) -> str:
        """Stream of chunk references, group `w`."""
        return self._key("job", job, "q")

    def states(self, job: str) -> str:
        """Hash: chunk → its state line."""
        return self._key("job", job, "ch")

    def chunk_input(self, job: str, chunk: int) -> str:
        """String: compressed ChunkInput."""
        return self._key("job", job, "in", str(chunk))

    def chunk_output(self, job: str, chunk: int) -> str:
        """String: compressed ChunkOutput."""
        return self._key("job", job, "out", str(chunk))

    def item_errors(self, job: str) -> str:
        """Hash: reason → number of texts."""
        return self._key("job", job, "err")

    def events(self, job: str) -> str:
        """Capped stream: one entry whenever the job changes."""
        return self._key("job", job, "ev")

    def jobs(self) -> str:
        """Zset: job → creation, in ms."""
        return self._key("jobs")

    def active(self) -> str:
        """Set of jobs that are not final."""
        return self._key("active")

    def ring(self, pool: str) -> str:
        """Zset: tenant → virtual time, for weighted fair queueing."""
        return self._key("ring", pool)

    def tenant_ring(self, pool: str, tenant: str) -> str:
        """Zset: job of that tenant with open chunks → virtual time."""
        return self._key("ring", pool, tenant)

    def delayed(self) -> str:
        """Zset: ``job chunk`` → when to retry, in ms."""
        return self._key("delayed")

    def expire(self) -> str:
        """Zset: final job → when to purge it, in ms."""
        return self._key("expire")

    def sweep(self) -> str:
        """Set of stopped jobs whose unscored inputs are still to be freed."""
        return self._key("sweep")

    def request(self, tenant: str, request_id: str) -> str:
        """String: what an idempotent create made."""
        return self._key("req", tenant, request_id)

    def usage(self, tenant: str) -> str:
        """Hash: texts waiting, for admission."""
        return self._key("usage", tenant)

    def bell(self, pool: str) -> str:
        """Capped list that wakes idle workers."""
        return self._key("bell", pool)

    # Online lane.

    def online(self, pool: str) -> str:
        """Stream of request references, group `w`."""
        return self._key("online", pool)

    def online_request(self, request: str) -> str:
        """String that lives until the caller's deadline: OnlineRequest."""
        return self._key("req-online", request)

    def reply(self, server: str) -> str:
        """List of OnlineReply for one server."""
        return self._key("reply", server)

    # Training jobs.

    def training(self, job: str) -> str:
        """Hash: kind, state, config, progress."""
        return self._key("train", job)

    def training_input(self, job: str) -> str:
        """String that lives until the job ends: an import's compressed ImportModelRequest."""
        return self._key("train", job, "in")

    def training_queue(self) -> str:
        """Stream of job ids, group `w`."""
        return self._key("train-q")

    def training_events(self, job: str) -> str:
        """Stream; an event's entry id is ``<sequence>-0``."""
        return self._key("train", job, "ev")

    def trainings(self) -> str:
        """Zset: job → creation, in ms."""
        return self._key("trains")

    # Workers and models.

    def worker(self, worker: str) -> str:
        """String with a short life: what a living worker says of itself, JSON."""
        return self._key("worker", worker)

    def workers(self) -> str:
        """Set of worker names, living or not."""
        return self._key("workers")

    def aliases(self, model: str) -> str:
        """Hash: alias → version, and the etag."""
        return self._key("alias", model)


def new_job_id(kind: str, shard: int = 0) -> str:
    """A fresh id that names its shard, e.g. ``score-0-1f0c…``."""
    return f"{kind}-{shard}-{uuid.uuid4().hex[:20]}"


def shard_of(job: str) -> int:
    """The shard an id names; ValueError for anything else."""
    kind, shard, tail = job.split("-")
    if kind not in ("score", "train") or not tail:
        raise ValueError(job)
    return int(shard)
