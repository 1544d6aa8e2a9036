"""A thread that sends finished work home, so that compute threads never wait for Redis."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from labelmill.worker.loops import persist

_log = logging.getLogger(__name__)


class Finisher:
    """Runs what is put in, in order, again and again while Redis is away."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="finisher", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, task: Callable[[], None]) -> None:
        """Adds a task; it must be safe to repeat."""
        self._tasks.put(task)

    def close(self, timeout_s: float) -> None:
        """Runs what is left, for at most `timeout_s`."""
        self._tasks.put(None)
        self._thread.join(timeout_s)
        self._give_up.set()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                persist(task, self._give_up)
            except Exception:  # noqa: BLE001 - logged; the thread must outlive one task
                # The lease or the caller's deadline ends what could not be sent.
                _log.exception("could not finish a piece of work")
