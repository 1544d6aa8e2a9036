"""A flag that also breaks off the call or the wait that a thread is in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop:
    """Set once, from any thread; what is under way under `cancelling` is cancelled."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._cancels: list[Callable[[], object]] = []

    def set(self) -> None:
        """Asks everything under this flag to end; doing so twice is no error."""
        with self._lock:
            self._event.set()
            cancels, self._cancels = self._cancels, []
        for cancel in cancels:
            cancel()

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits at most so long; returns `is_set`."""
        return self._event.wait(seconds)

    @contextmanager
    def cancelling(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Calls `cancel` when the flag is set within the block, or was before."""
        with self._lock:
            already = self._event.is_set()
            if not already:
                self._cancels.append(cancel)
        if already:
            cancel()
        try:
            yield
        finally:
            with self._lock:
                if cancel in self._cancels:
                    self._cancels.remove(cancel)
