"""The training queue: jobs, their events, and the one lease a run holds.

A job trains a model or imports one; either is a run of a worker's child process. `TrainingStore`
is the server's side (async), `TrainingLeases` the workers' (sync). Events are numbered 1, 2, 3 ...
within a job; their stream keeps them all.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import redis
import redis.asyncio
from redis.exceptions import ResponseError

from labelmill.errors import FailedPreconditionError, JobNotFoundError, RequestIdReusedError
from labelmill.queue import codec, durability, scripts
from labelmill.queue.cancellation import raise_if_cancelled
from labelmill.queue.job import FINAL_STATES
from labelmill.queue.keys import GROUP, Keys, new_job_id, shard_of
from labelmill.queue.listing import Place, newest
from labelmill.queue.streams import entries_of
from labelmill.v1.models_pb2 import ImportModelRequest
from labelmill.v1.scoring_pb2 import JobState
from labelmill.v1.training_pb2 import TrainingConfig, TrainingEvent

#: How long a request_id is remembered, in ms.
_REQUEST_TTL_MS = 24 * 3600 * 1000

#: A run not beaten for this long is lost, in ms.
LEASE_MS = 60_000

#: Runs after which a job that keeps losing its worker is given up.
MAX_ATTEMPTS = 3

#: How long one wait for events lasts, in ms.
_WATCH_BLOCK_MS = 1000


Kind = Literal["train", "import"]


@dataclass(frozen=True)
class TrainingRecord:
    """A training job as last read. Times are ms since the epoch, 0 where not yet set."""

    id: str
    state: str
    tenant: str
    model: str
    kind: Kind
    #: Of a training run; empty for an import.
    dataset_id: str
    config: TrainingConfig
    #: Of an import: the checkpoint's directory.
    source: str
    #: Alias to move on success; empty for none.
    alias: str
    stage: str
    progress: float
    sequence: int
    version: int
    created: int
    started: int
    ended: int
    attempt: int
    error_reason: str
    error_message: str
    #: Field of the request → what is wrong with it.
    error_fields: dict[str, str]

    @property
    def final(self) -> bool:
        """Whether the state can no longer change."""
        return self.state in FINAL_STATES

    @classmethod
    def parse(cls, job: str, fields: Mapping[bytes, bytes]) -> TrainingRecord:
        """Reads the job's hash."""

        def text(name: str) -> str:
            return fields.get(name.encode(), b"").decode()

        return cls(
            id=job,
            state=text("state"),
            tenant=text("tenant"),
            model=text("model"),
            kind="import" if text("kind") == "import" else "train",
            dataset_id=text("dataset"),
            config=TrainingConfig.FromString(fields.get(b"config", b"")),
            source=text("source"),
            alias=text("alias"),
            stage=text("stage"),
            progress=float(text("progress") or 0),
            sequence=int(text("sequence") or 0),
            version=int(text("version") or 0),
            created=int(text("created") or 0),
            started=int(text("started") or 0),
            ended=int(text("ended") or 0),
            attempt=int(text("attempt") or 0),
            error_reason=text("error_reason"),
            error_message=text("error_message"),
            error_fields=json.loads(text("error_fields") or "{}"),
        )


class TrainingStore:
    """Training jobs as a server sees them. Every method raises redis errors as they are."""

    def __init__(self, client: redis.asyncio.Redis, *, shard: int = 0) -> None:
        # redis-py's annotations cannot tell bytes from str.
        self._redis: Any = client
        self._shard = shard
        self._keys = Keys(shard)
        names = ("train_create", "train_cancel", "train_event")
        self._scripts = {name: client.register_script(scripts.source(name)) for name in names}

    async def create(
        self,
        *,
        tenant: str,
        model: str,
        dataset_id: str,
        config: TrainingConfig,
        alias: str,
        request_id: str = "",
        digest: bytes = b"",
    ) -> TrainingRecord:
        """Queues a run; with `request_id`, or returns the one it made before. Durable.

        Raises:
            RequestIdReusedError: the id came with another digest before.
        """
        fields: dict[str, str | bytes] = {
            "kind": "train",
            "tenant": tenant,
            "model": model,
            "alias": alias,
            "dataset": dataset_id,
            "config": config.SerializeToString(),
        }
        return await self._create(tenant, fields, b"", request_id, digest)

    async def create_import(
        self,
        *,
        tenant: str,
        request: ImportModelRequest,
        alias: str,
        request_id: str = "",
        digest: bytes = b"",
    ) -> TrainingRecord:
        """Queues an import; otherwise as `create`."""
        fields = {
            "kind": "import",
            "tenant": tenant,
            "model": request.model,
            "alias": alias,
            "source": request.source_directory,
        }
        return await self._create(tenant, fields, codec.pack(request), request_id, digest)

    async def _create(
        self,
        tenant: str,
        fields: Mapping[str, str | bytes],
        payload: bytes,
        request_id: str,
        digest: bytes,
    ) -> TrainingRecord:
        k, job = self._keys, new_job_id("train", self._shard)
        made = await self._scripts["train_create"](
            keys=[
                k.training(job),
                k.request(tenant, request_id),
                k.trainings(),
                k.training_queue(),
                k.training_input(job),
            ],
            args=[
                job,
                hashlib.sha256(digest).hexdigest(),
                _REQUEST_TTL_MS if request_id else 0,
                payload,
                *[part for pair in fields.items() for part in pair],
            ],
        )
        if made == b"REUSED":
            raise RequestIdReusedError(
                f"request_id: {request_id} was used for a different request; make a new UUID4"
            )
        await durability.wait(self._redis)
        return await self.get(made.decode())

    async def get(self, job: str) -> TrainingRecord:
        """The job; raises JobNotFoundError."""
        try:
            shard_of(job)
        except ValueError:
            raise _gone(job) from None
        fields = await self._redis.hgetall(self._keys.training(job))
        if not fields:
            raise _gone(job)
        return TrainingRecord.parse(job, fields)

    async def newest(
        self, *, after: Place | None, limit: int
    ) -> tuple[list[TrainingRecord], Place | None]:
        """A page of jobs, newest first, and where it ended; None when there are no more."""
        places = await newest(self._redis, self._keys.trainings(), after, limit)
        records = [await self.get(place.id) for place in places]
        return records, places[-1] if len(places) == limit else None

    async def watch(self, job: str, after: int) -> AsyncGenerator[TrainingEvent, None]:
        """Events after sequence `after`, then new ones, up to the one with a final state."""
        key, seen = self._keys.training_events(job), f"{after}-0"
        while True:
            raise_if_cancelled()
            record = await self.get(job)
            # A final job has all its events already.
            block = None if record.final else _WATCH_BLOCK_MS
            reply = await self._redis.xread({key: seen}, block=block, count=256)
            for _, entries in entries_of(reply):
                for entry, fields in entries:
                    seen = entry.decode()
                    yield _event(seen, fields)
            # Read before the events: a final record means that they were all there.
            if record.final and not reply:
                return

    async def cancel(self, job: str) -> TrainingRecord:
        """Stops the run; raises FailedPreconditionError when the job has ended otherwise."""
        answer = await self._scripts["train_cancel"](keys=[self._keys.training(job)], args=[])
        before = answer[0].decode() if answer else ""
        if not before:
            raise _gone(job)
        if before in FINAL_STATES and before != "CANCELLED":
            raise FailedPreconditionError(f"job {job} is {before}; there is nothing to cancel")
        if before == "QUEUED":
            event = TrainingEvent(stage="queue", message="Cancelled before it started.")
            await self._scripts["train_event"](
                keys=_event_keys(self._keys, job),
                args=["", event.stage, 0, event.SerializeToString(), "CANCELLED"],
            )
        return await self.get(job)


class TrainingLeases:
    """Training jobs as a worker sees them. Every method raises redis errors as they are."""

    def __init__(
        self, client: redis.Redis, worker: str, *, lease_ms: int = LEASE_MS, shard: int = 0
    ) -> None:
        # redis-py's annotations cannot tell bytes from str.
        self._redis: Any = client
        self._worker = worker
        self._lease_ms = lease_ms
        self._keys = Keys(shard)
        names = ("train_lease", "train_beat", "train_event", "train_release")
        self._scripts = {name: client.register_script(scripts.source(name)) for name in names}

    def lease(self) -> tuple[TrainingRecord, str] | None:
        """The next job to run with the token of its lease, lost runs first; None when idle."""
        queue = self._keys.training_queue()
        try:
            _, claimed, *_ = self._redis.xautoclaim(
                queue, GROUP, self._worker, min_idle_time=self._lease_ms, count=1
            )
            entries = claimed or next(
                (
                    found
                    for _, found in entries_of(
                        self._redis.xreadgroup(GROUP, self._worker, {queue: ">"}, count=1)
                    )
                ),
                [],
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._redis.xgroup_create(queue, GROUP, id="0", mkstream=True)
            return None
        if not entries:
            return None
        entry, fields = entries[0]
        job, token = fields[b"j"].decode(), uuid.uuid4().hex
        answer = self._scripts["train_lease"](
            keys=[self._keys.training(job), queue], args=[self._worker, entry, token]
        )
        if not answer:
            return None
        record = TrainingRecord.parse(job, self._redis.hgetall(self._keys.training(job)))
        return record, token

    def request_of(self, job: str) -> ImportModelRequest | None:
        """What an import was asked for; None when the job has ended."""
        payload: bytes | None = self._redis.get(self._keys.training_input(job))
        return None if payload is None else codec.unpack(ImportModelRequest, payload)

    def beat(self, job: str, token: str) -> Literal["HELD", "STALE", "STOP"]:
        """Keeps the lease; STALE when it was lost, STOP when the job was cancelled."""
        answer: bytes = self._scripts["train_beat"](
            keys=[self._keys.training(job), self._keys.training_queue()],
            args=[self._worker, token],
        )
        return answer.decode()  # type: ignore[return-value]

    def event(self, job: str, token: str, event: TrainingEvent) -> int:
        """Publishes an event; returns its sequence number, 0 when the lease was lost."""
        return self._event(job, token, event, "", {})

    def finish(
        self,
        job: str,
        token: str,
        state: Literal["SUCCEEDED", "FAILED", "CANCELLED"],
        event: TrainingEvent,
        *,
        version: int = 0,
        reason: str = "",
        error_fields: Mapping[str, str] | None = None,
    ) -> int:
        """Ends the job with its last event; 0 when the lease was lost."""
        fields: dict[str, str | int] = {"version": version}
        if reason:
            fields |= {"error_reason": reason, "error_message": event.message}
        if error_fields:
            fields["error_fields"] = json.dumps(dict(error_fields))
        return self._event(job, token, event, state, fields)

    def release(self, job: str, token: str) -> bool:
        """Puts the job back for another worker; False when the lease was lost."""
        return bool(
            self._scripts["train_release"](
                keys=[self._keys.training(job), self._keys.training_queue()], args=[job, token]
            )
        )

    def _event(
        self,
        job: str,
        token: str,
        event: TrainingEvent,
        state: str,
        fields: Mapping[str, str | int],
    ) -> int:
        return int(
            self._scripts["train_event"](
                keys=_event_keys(self._keys, job),
                args=[
                    token,
                    event.stage,
                    event.progress,
                    event.SerializeToString(),
                    state,
                    *[part for pair in fields.items() for part in pair],
                ],
            )
        )


def _event_keys(keys: Keys, job: str) -> list[str]:
    return [
        keys.training(job),
        keys.training_events(job),
        keys.training_queue(),
        keys.training_input(job),
    ]


def _event(entry: str, fields: Mapping[bytes, bytes]) -> TrainingEvent:
    event = TrainingEvent.FromString(fields[b"e"])
    event.sequence = int(entry.partition("-")[0])
    event.time.FromMilliseconds(int(fields[b"t"]))
    event.state = JobState.Value(f"JOB_STATE_{fields[b's'].decode()}")
    return event


def _gone(job: str) -> JobNotFoundError:
    return JobNotFoundError(f"there is no training job {job!r}")
