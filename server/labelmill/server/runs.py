"""The events of a training run or an import, as every service follows them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from labelmill.queue.job import FINAL_STATES
from labelmill.server.following import Following
from labelmill.server.resolve import Resolver
from labelmill.server.stores import Stores
from labelmill.v1.scoring_pb2 import JobState
from labelmill.v1.training_pb2 import TrainingEvent


class Runs:
    """Follows runs; whoever sees the end of one may use its version at once."""

    def __init__(self, stores: Stores, resolver: Resolver, following: Following) -> None:
        self._store = stores.followed_training
        self._resolver = resolver
        self._following = following

    async def follow(self, job: str, after: int = 0) -> AsyncGenerator[TrainingEvent, None]:
        """Events after sequence `after`, then new ones, up to the one with a final state.

        Raises:
            JobNotFoundError: there is no such job.
            OverloadedError: this server has too many such streams.
            ServerUnavailableError: it is shutting down.
        """
        async with aclosing(self._following.follow(self._events(job, after))) as events:
            async for event in events:
                yield event

    async def _events(self, job: str, after: int) -> AsyncGenerator[TrainingEvent, None]:
        async with aclosing(self._store.watch(job, after)) as events:
            async for event in events:
                if JobState.Name(event.state).removeprefix("JOB_STATE_") in FINAL_STATES:
                    self._resolver.forget((await self._store.get(job)).model)
                yield event
