"""Streams that follow something for as long as it takes: bounded in number, ended by a drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

from labelmill.errors import OverloadedError, ServerUnavailableError
from labelmill.server.stores import MAX_FOLLOWERS

T = TypeVar("T")

#: Seconds until a client should come back, to another server or to this one's successor.
_RETRY_S = 0.2

#: Seconds until a stream refused for its number should be tried again.
_TOO_MANY_RETRY_S = 2.0

_END: Any = object()


class Following:
    """Every open stream of this server that waits for news."""

    def __init__(self) -> None:
        self._draining = asyncio.Event()
        self._count = 0

    def drain(self) -> None:
        """Ends all of them as soon as they have nothing to send."""
        self._draining.set()

    async def follow(self, news: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """Passes on `news`.

        Raises:
            OverloadedError: this server has too many such streams.
            ServerUnavailableError: it is shutting down; the client goes on elsewhere.
        """
        if self._count >= MAX_FOLLOWERS:
            raise OverloadedError(
                f"{MAX_FOLLOWERS} streams follow jobs on this server, its limit; ask for the job's "
                "state from time to time instead",
                retry_after_s=_TOO_MANY_RETRY_S,
                metadata={"subject": "server:followers"},
            )
        self._count += 1
        try:
            async with aclosing(news), aclosing(self.until_drained(news)) as items:
                async for item in items:
                    yield item
        finally:
            self._count -= 1

    async def until_drained(self, items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """Passes on `items`; raises ServerUnavailableError when drained while waiting for one."""
        draining = asyncio.create_task(self._draining.wait())
        step: asyncio.Task[T] | None = None
        try:
            while True:
                step = asyncio.create_task(_next(items))
                await asyncio.wait({step, draining}, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    raise ServerUnavailableError(
                        "this server is shutting down; connect again to go on",
                        retry_after_s=_RETRY_S,
                    )
                item = step.result()
                if item is _END:
                    return
                yield item
        finally:
            draining.cancel()
            if step is not None and not step.done():
                step.cancel()
                await asyncio.wait({step})


async def _next(items: AsyncIterator[T]) -> T:
    item: T = await anext(items, _END)
    return item
