"""The queue as this server reaches it: pools of connections and the stores on them.

Each kind of use has a pool of its own, so that a thousand watchers cannot keep a Classify call
from its connection. Owns the pools, not what is asked over them.
"""

from __future__ import annotations

import asyncio
import time
import uuid

import redis.asyncio

from labelmill.queue import durability
from labelmill.queue.aliases import AliasStore
from labelmill.queue.connection import (
    TRANSIENT,
    check_fitness,
    connect_async,
    policy_of,
    unavailable,
)
from labelmill.queue.jobs import JobStore
from labelmill.queue.online import OnlineClient
from labelmill.queue.training import TrainingStore
from labelmill.settings import ServerSettings

#: Connections for Classify, one of them for the replies; each is held for a round trip only.
_ONLINE_CONNECTIONS = 64

#: Connections for short calls about jobs; creating one holds it until the write is on disk.
_JOB_CONNECTIONS = 128

#: Streams that may follow a job at the same time; each holds a connection while it waits.
MAX_FOLLOWERS = 256

#: Longest silence of Redis, in s: for Classify, for jobs (it may wait 5 s for the disk) and for
#: looking after Redis's health.
_ONLINE_ANSWER_S, _JOB_ANSWER_S, _HEALTH_ANSWER_S = 3.0, 8.0, 1.5

#: Seconds for which a server that starts waits for Redis.
_START_PATIENCE_S = 5.0

#: Seconds between tries at start.
_START_RETRY_S = 0.2


class Stores:
    """Everything of the queue a server uses."""

    def __init__(self, settings: ServerSettings) -> None:
        url = settings.redis_url
        self._url = url
        self._online = connect_async(
            url, connections=_ONLINE_CONNECTIONS, retries=1, answer_timeout_s=_ONLINE_ANSWER_S
        )
        self._jobs = connect_async(
            url, connections=_JOB_CONNECTIONS, answer_timeout_s=_JOB_ANSWER_S
        )
        self._follow = connect_async(
            url, connections=MAX_FOLLOWERS + 8, answer_timeout_s=_JOB_ANSWER_S
        )
        #: For looking after Redis's health.
        self.health = connect_async(
            url, connections=4, retries=0, answer_timeout_s=_HEALTH_ANSWER_S
        )
        self.online = OnlineClient(self._online, uuid.uuid4().hex)
        self.jobs = JobStore(self._jobs, max_queued_texts=settings.max_queued_texts)
        self.followed_jobs = JobStore(self._follow)
        self.training = TrainingStore(self._jobs)
        self.followed_training = TrainingStore(self._follow)
        self.aliases = AliasStore(self._jobs)

    async def check(self) -> None:
        """Waits a moment for Redis and sees that it is fit.

        Raises:
            QueueUnavailableError: it does not answer.
            QueueUnfitError: it would lose accepted work.
        """
        deadline = time.monotonic() + _START_PATIENCE_S
        while True:
            try:
                info = await self.health.info()
            except TRANSIENT as error:
                if time.monotonic() > deadline:
                    raise unavailable(self._url, error) from error
                await asyncio.sleep(_START_RETRY_S)
            else:
                check_fitness(info, policy_of(info))
                return

    async def durable(self) -> None:
        """Waits until what was written is on disk, where the server can say so."""
        await durability.wait(self._jobs)

    async def close(self) -> None:
        """Closes every connection."""
        for client in self._clients():
            await client.aclose()

    def _clients(self) -> list[redis.asyncio.Redis]:
        return [self._online, self._jobs, self._follow, self.health]
