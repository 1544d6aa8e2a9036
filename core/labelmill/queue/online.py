"""The online lane: one Classify call in, one reply out.

The stream holds references only. A request's texts lie in a key that lives until the caller's
deadline, so that expired work vanishes by itself and cancelled work is one DEL away from it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from labelmill.errors import DeadlineError, QueueUnavailableError
from labelmill.internal.v1.queue_pb2 import OnlineReply, OnlineRequest
from labelmill.names import engine_family
from labelmill.queue.cancellation import raise_if_cancelled
from labelmill.queue.connection import TRANSIENT
from labelmill.queue.keys import GROUP, Keys
from labelmill.queue.streams import entries_of
from labelmill.v1.classification_pb2 import ItemError

#: How long a dead server's replies lie around, in ms.
_REPLY_TTL_MS = 60_000

#: How long one wait for replies or requests lasts, in s.
_BLOCK_S = 1.0

#: Seconds between tries to reach Redis again.
_RECONNECT_S = 0.2


class OnlineClient:
    """The server's side: submits requests and awaits their replies. Async.

    `run` must be running as a task while `call` is used.
    """

    def __init__(self, client: redis.asyncio.Redis, server: str, *, shard: int = 0) -> None:
        # redis-py's annotations cannot tell bytes from str.
        self._redis: Any = client
        self._server = server
        self._keys = Keys(shard)
        self._waiting: dict[str, asyncio.Future[OnlineReply]] = {}

    @property
    def in_flight(self) -> int:
        """Calls waiting for a reply."""
        return len(self._waiting)

    async def call(self, request: OnlineRequest) -> OnlineReply:
        """Enqueues `request` and returns the worker's reply.

        Fills in `server`. When the caller is cancelled the request is withdrawn, and unless a
        worker has it already it never reaches an engine.

        Raises:
            DeadlineError: `request.deadline_ms` passed first.
            RedisError: the request could not be enqueued.
        """
        request.server = self._server
        remaining_ms = request.deadline_ms - int(time.time() * 1000)
        if remaining_ms <= 0:
            raise DeadlineError("the deadline passed before the request was enqueued")
        future: asyncio.Future[OnlineReply] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = future
        key = self._keys.online_request(request.id)
        answered = False
        # No transaction: the reference comes second, and a payload alone expires by itself.
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(key, request.SerializeToString(), px=remaining_ms)
        pipe.xadd(self._keys.online(engine_family(request.engine)), {"r": request.id})
        # The caller's cancellation must not reach redis-py, which could swallow it.
        enqueued = asyncio.ensure_future(pipe.execute())
        try:
            await asyncio.shield(enqueued)
            async with asyncio.timeout(remaining_ms / 1000):
                reply = await future
            answered = True
            return reply
        except TimeoutError:
            raise DeadlineError(
                f"no worker answered within {remaining_ms} ms; the queue may be long, or give the "
                "call a later deadline"
            ) from None
        finally:
            del self._waiting[request.id]
            if not answered:
                await asyncio.shield(self._withdraw(key, enqueued))

    async def _withdraw(self, key: str, enqueued: asyncio.Future[Any]) -> None:
        try:
            await enqueued
            await self._redis.unlink(key)
        except RedisError:
            # The key's own time to live ends it as well.
            return

    async def run(self) -> None:
        """Hands replies to their callers until cancelled; outlives Redis going away.

        When the connection breaks, a reply may be lost on the way and nobody would send it again,
        so every waiting call gets the error QUEUE_UNAVAILABLE at once: callers may repeat it.
        """
        key = self._keys.reply(self._server)
        while True:
            raise_if_cancelled()
            try:
                reply = await self._redis.blpop([key], timeout=_BLOCK_S)
                if reply is None:
                    continue
                self._hand_over([reply[1]])
                if self.in_flight > 1:
                    self._hand_over(await self._redis.lpop(key, 64) or [])
            except TRANSIENT:
                self._give_up()
                await asyncio.sleep(_RECONNECT_S)

    def _hand_over(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            answer = OnlineReply.FromString(payload)
            future = self._waiting.get(answer.id)
            if future is not None and not future.done():
                future.set_result(answer)

    def _give_up(self) -> None:
        error = ItemError(
            reason=QueueUnavailableError.reason,
            message="the connection to Redis broke while the request was under way; try again",
        )
        for request, future in self._waiting.items():
            if not future.done():
                future.set_result(OnlineReply(id=request, error=error))

    async def queued(self, pool: str) -> int:
        """Requests waiting or under way in a pool."""
        return int(await self._redis.xlen(self._keys.online(pool)))


@dataclass(frozen=True)
class Ticket:
    """One request taken from the lane; give it to `reply` once."""

    pool: str
    entry: bytes
    request: OnlineRequest


class OnlineLane:
    """The workers' side: takes requests, replies to them. Sync, thread-safe."""

    def __init__(self, client: redis.Redis, worker: str, *, shard: int = 0) -> None:
        self._redis: Any = client
        self._worker = worker
        self._keys = Keys(shard)
        self._pools: dict[str, str] = {}

    def open(self, pools: Sequence[str]) -> None:
        """Makes the streams and groups of `pools` where they are missing."""
        for pool in pools:
            stream = self._keys.online(pool)
            self._pools[stream] = pool
            try:
                self._redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def take(self, limit: int, *, block_s: float = _BLOCK_S) -> list[Ticket]:
        """Up to `limit` requests, waiting up to `block_s` for the first.

        Expired and withdrawn requests are dropped here.
        """
        try:
            reply = self._redis.xreadgroup(
                GROUP,
                self._worker,
                dict.fromkeys(self._pools, ">"),
                count=limit,
                block=max(1, int(block_s * 1000)),
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            # Redis came back empty.
            self.open(list(self._pools.values()))
            return []
        return self._tickets(
            [
                (self._pools[stream.decode()], entry, fields)
                for stream, entries in entries_of(reply)
                for entry, fields in entries
            ]
        )

    def _tickets(self, entries: list[tuple[str, bytes, dict[bytes, bytes]]]) -> list[Ticket]:
        if not entries:
            return []
        payloads = self._redis.mget(
            [self._keys.online_request(fields[b"r"].decode()) for _, _, fields in entries]
        )
        tickets = []
        for (pool, entry, _), payload in zip(entries, payloads, strict=True):
            if payload is None:
                self._drop(pool, entry)
            else:
                tickets.append(Ticket(pool, entry, OnlineRequest.FromString(payload)))
        return tickets

    def _drop(self, pool: str, entry: bytes) -> None:
        pipe = self._redis.pipeline(transaction=False)
        pipe.xack(self._keys.online(pool), GROUP, entry)
        pipe.xdel(self._keys.online(pool), entry)
        pipe.execute()

    def wanted(self, ticket: Ticket) -> bool:
        """Whether the caller still waits for the answer."""
        return bool(self._redis.exists(self._keys.online_request(ticket.request.id)))

    def reply(self, ticket: Ticket, reply: OnlineReply) -> None:
        """Answers a request and forgets it."""
        stream, replies = self._keys.online(ticket.pool), self._keys.reply(ticket.request.server)
        pipe = self._redis.pipeline(transaction=True)
        pipe.rpush(replies, reply.SerializeToString())
        pipe.pexpire(replies, _REPLY_TTL_MS)
        pipe.xack(stream, GROUP, ticket.entry)
        pipe.xdel(stream, ticket.entry)
        pipe.unlink(self._keys.online_request(ticket.request.id))
        pipe.execute()

    def give_back(self, ticket: Ticket) -> None:
        """Puts a request back for another worker, as when this one shuts down."""
        stream = self._keys.online(ticket.pool)
        pipe = self._redis.pipeline(transaction=True)
        pipe.xack(stream, GROUP, ticket.entry)
        pipe.xdel(stream, ticket.entry)
        pipe.xadd(stream, {"r": ticket.request.id})
        pipe.execute()

    def take_over(self, dead: Sequence[str]) -> list[Ticket]:
        """Takes what workers that are no longer alive had taken and not answered."""
        entries: list[tuple[str, bytes, dict[bytes, bytes]]] = []
        for stream, pool in self._pools.items():
            for worker in dead:
                held = self._redis.xpending_range(
                    stream, GROUP, min="-", max="+", count=256, consumername=worker
                )
                ids = [row["message_id"] for row in held]
                if ids:
                    claimed = self._redis.xclaim(stream, GROUP, self._worker, 0, ids)
                    entries += [(pool, entry, fields) for entry, fields in claimed if fields]
                if len(ids) < 256:
                    self._redis.xgroup_delconsumer(stream, GROUP, worker)
        return self._tickets(entries)
