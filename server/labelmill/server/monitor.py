"""What this server knows of the world behind it: Redis, its memory, workers, the online queue.

Looked up once a second in the background, so that no call pays for it. Owns the looking; what
follows from it is decided by admission, resolve and health.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from labelmill.names import ENGINE_CHOICES, engine_family
from labelmill.queue import presence
from labelmill.queue.connection import TRANSIENT
from labelmill.queue.keys import Keys
from labelmill.queue.presence import WorkerInfo
from labelmill.server.errors import cause, queue_unavailable
from labelmill.server.log import fields

_log = logging.getLogger(__name__)

#: Seconds between looks, and between them while Redis is away.
_EVERY_S, _EVERY_AWAY_S = 1.0, 0.25

#: Longest look, in s.
_LOOK_S = 2.0

#: Engine families there are queues for.
POOLS = tuple(dict.fromkeys(engine_family(engine) for engine in ENGINE_CHOICES))


@dataclass(frozen=True)
class View:
    """What one look found."""

    #: While Redis is away: what it said last.
    away: Exception | None = None
    workers: list[WorkerInfo] = field(default_factory=list)
    #: Bytes Redis uses, and may use; 0 for any number.
    used_memory: int = 0
    max_memory: int = 0
    #: Online requests waiting or under way, by engine family.
    queued: dict[str, int] = field(default_factory=dict)


class Monitor:
    """Keeps the newest `view`."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        # redis-py's annotations cannot tell bytes from str.
        self._redis: Any = client
        self._keys = Keys()
        #: When the look began that made `view`.
        self._looked = 0.0
        self._looking: asyncio.Task[None] | None = None
        self.view = View()

    async def run(self, report: Callable[[View], Awaitable[None]]) -> None:
        """Looks again and again until cancelled, and reports each view."""
        while True:
            await self._join()
            await report(self.view)
            await asyncio.sleep(_EVERY_AWAY_S if self.view.away else _EVERY_S)

    async def fresh(self) -> View:
        """A view no older than this call, which would be refused for what the last one showed."""
        asked = time.monotonic()
        while self._looked < asked:
            await self._join()
        return self.view

    async def _join(self) -> None:
        """Waits for the look under way, or for a new one: there is never more than one."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)

    def check(self) -> None:
        """Raises QueueUnavailableError while Redis is away."""
        if self.view.away is not None:
            raise queue_unavailable(self.view.away)

    async def _look(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_LOOK_S):
                view = await self._seen()
        except TimeoutError as error:
            view = View(away=error)
        except (RedisError, ValueError, TypeError) as error:
            if isinstance(error, TRANSIENT):
                view = View(away=error)
            else:
                # Redis answers, but not as expected: calls will say more than this loop could.
                _log.error("look at Redis failed", exc_info=error)
                view = View(workers=self.view.workers)
        finally:
            self._looking = None
        if (view.away is None) != (self.view.away is None):
            said = fields(cause=cause(view.away)) if view.away else None
            _log.warning("Redis is away" if view.away else "Redis is back", extra=said)
        self.view, self._looked = view, began

    async def _seen(self) -> View:
        workers = await presence.living(self._redis, self._keys)
        pipe = self._redis.pipeline(transaction=False)
        pipe.info("memory")
        for pool in POOLS:
            pipe.xlen(self._keys.online(pool))
        memory, *queued = await pipe.execute()
        return View(
            workers=workers,
            used_memory=int(memory.get("used_memory", 0)),
            max_memory=int(memory.get("maxmemory", 0)),
            queued=dict(zip(POOLS, queued, strict=True)),
        )
