from __future__ import annotations

import asyncio
import threading

import pytest

from labelmill.server.threads import opened_in_thread


async def test_what_is_being_opened_when_the_caller_goes_is_closed() -> None:
    opening, go_on = threading.Event(), threading.Event()
    closed: list[str] = []

    def open_slowly() -> str:
        opening.set()
        assert go_on.wait(10)
        return "a file"

    async def work() -> None:
        async with opened_in_thread(open_slowly, closed.append):
            pytest.fail("was cancelled before")

    task = asyncio.create_task(work())
    assert await asyncio.to_thread(opening.wait, 10)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == ["a file"]


async def test_it_is_closed_once_after_use_and_not_when_opening_failed() -> None:
    closed: list[int] = []
    async with opened_in_thread(lambda: 7, closed.append) as opened:
        assert opened == 7
        assert closed == []
    assert closed == [7]

    def fail() -> int:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        async with opened_in_thread(fail, closed.append):
            pytest.fail("was not opened")
    assert closed == [7]
