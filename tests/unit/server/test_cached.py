from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from labelmill.server.cached import Cached
from labelmill.server.threads import finished_in_thread


class Source:
    """Counts its loads; `gate` holds them back."""

    def __init__(self) -> None:
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def load(self, key: str) -> str:
        self.loads += 1
        mine = self.loads
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return f"{key}{mine}"


async def test_a_value_is_loaded_once_for_all_who_ask() -> None:
    source = Source()
    source.gate.clear()
    cached = Cached(source.load, ttl_s=60)
    asking = [asyncio.create_task(cached.get("a")) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    source.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == ["a1"] * 4
    assert await cached.get("a") == "a1"
    assert await cached.get("b") == "b2"


async def test_an_old_value_is_loaded_again() -> None:
    source = Source()
    cached = Cached(source.load, ttl_s=0)
    assert [await cached.get("a"), await cached.get("a")] == ["a1", "a2"]


async def test_an_error_is_not_remembered() -> None:
    source = Source()
    source.error = ValueError("no")
    cached = Cached(source.load, ttl_s=60)
    with pytest.raises(ValueError, match="no"):
        await cached.get("a")
    source.error = None
    assert await cached.get("a") == "a2"


async def test_a_value_forgotten_while_it_loads_is_not_kept() -> None:
    source = Source()
    source.gate.clear()
    cached = Cached(source.load, ttl_s=60)
    asking = asyncio.create_task(cached.get("a"))
    await asyncio.sleep(0)
    cached.forget(lambda key: key == "a")
    source.gate.set()
    assert await asking == "a1"
    assert await cached.get("a") == "a2"
    cached.forget(lambda key: key == "b")
    assert await cached.get("a") == "a2"


async def test_a_cancelled_wait_ends_after_its_thread() -> None:
    started, release, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait(30)
        done.set()

    task = asyncio.create_task(finished_in_thread(work))
    await asyncio.to_thread(started.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert done.is_set()
