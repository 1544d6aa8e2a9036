"""Values kept for a moment, each loaded once however many ask for it at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

#: Entries above which those out of date are dropped.
_SWEEP_AT = 1024


class Cached(Generic[K, V]):
    """Remembers what `load` returns for `ttl_s` seconds. Errors are not remembered."""

    def __init__(self, load: Callable[[K], Awaitable[V]], *, ttl_s: float) -> None:
        self._load = load
        self._ttl_s = ttl_s
        self._values: dict[K, tuple[float, V]] = {}
        self._loading: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """The value, at most `ttl_s` old; raises what `load` raises."""
        held = self._values.get(key)
        if held is not None and held[0] > time.monotonic():
            return held[1]
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._fresh(key))
            # Looked at here, as every caller may have gone when it fails.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # A caller that goes away must not take the value from the others.
        return await asyncio.shield(task)

    def forget(self, wanted: Callable[[K], bool]) -> None:
        """Drops the values of all keys that `wanted` is true for."""
        for key in [key for key in (*self._values, *self._loading) if wanted(key)]:
            self._values.pop(key, None)
            self._loading.pop(key, None)

    async def _fresh(self, key: K) -> V:
        me = asyncio.current_task()
        asked = time.monotonic()
        try:
            value = await self._load(key)
        finally:
            # Forgotten while it was loaded: it may be out of date already.
            current = self._loading.get(key) is me
            if current:
                del self._loading[key]
        if current:
            if len(self._values) >= _SWEEP_AT:
                self._sweep()
            self._values[key] = (asked + self._ttl_s, value)
        return value

    def _sweep(self) -> None:
        now = time.monotonic()
        self._values = {key: held for key, held in self._values.items() if held[0] > now}
