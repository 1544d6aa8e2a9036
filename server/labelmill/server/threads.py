"""Blocking work in a thread that is never left half done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def finished_in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As asyncio.to_thread, but when cancelled it waits for the thread before it raises.

    What the caller cleans up afterwards is then no longer in use.
    """
    task = asyncio.create_task(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            # The caller is gone; nobody else would look at the outcome.
            task.exception()
        raise


@asynccontextmanager
async def opened_in_thread(
    opening: Callable[[], T], closing: Callable[[T], object]
) -> AsyncIterator[T]:
    """What `opening` makes in a thread, closed in one at the end.

    It is closed as well when the caller is cancelled while it is being made.
    """
    task = asyncio.create_task(asyncio.to_thread(opening))
    try:
        yield await asyncio.shield(task)
    finally:
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await finished_in_thread(closing, task.result())
