"""Threads that talk to Redis and survive it going away."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from labelmill.queue.connection import TRANSIENT

_log = logging.getLogger(__name__)

#: First and longest pause between tries while Redis is away, in s; full jitter.
_BACKOFF_FIRST_S, _BACKOFF_LONGEST_S = 0.05, 2.0


class RedisLoop:
    """Calls `step` again and again in a thread of its own until stopped.

    Args:
        name: thread name.
        step: one round; may block for a second or so. When Redis is away it is tried again with
            back-off, for as long as it takes.
        every_s: pause between rounds.
    """

    def __init__(self, name: str, step: Callable[[], None], *, every_s: float = 0.0) -> None:
        self._step = step
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the loop after its present round."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._step()
            except TRANSIENT as error:
                if not failures:
                    _log.warning("%s: Redis is away (%s), trying again", self._thread.name, error)
                failures += 1
                self._stop.wait(backoff_s(failures))
                continue
            except Exception:  # noqa: BLE001 - logged; a defect must not silence the worker
                _log.exception("%s failed", self._thread.name)
                self._stop.wait(_BACKOFF_LONGEST_S)
                continue
            if failures:
                _log.warning("%s: Redis is back after %d tries", self._thread.name, failures)
                failures = 0
            if self._every_s:
                self._stop.wait(self._every_s)


def backoff_s(failures: int) -> float:
    """Full-jitter pause before try number `failures` + 1, in s."""
    ceiling = min(_BACKOFF_LONGEST_S, _BACKOFF_FIRST_S * 2 ** min(failures, 10))
    return random.uniform(0, ceiling)  # noqa: S311


def persist(call: Callable[[], None], gave_up: threading.Event) -> None:
    """Repeats `call` while Redis is away, until it succeeds or `gave_up` is set."""
    failures = 0
    while True:
        try:
            call()
        except TRANSIENT:
            failures += 1
            if gave_up.wait(backoff_s(failures)):
                return
        else:
            return
