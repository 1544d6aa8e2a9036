"""Ctrl-C that waits until gRPC has let go of its locks. For programs that own the process.

gRPC guards its state with ``with condition:`` in Python. A KeyboardInterrupt that is raised when
the lock is taken but the block not yet entered leaves it taken for ever, and the next call on the
channel, its `close` among them, hangs: measured once in 140 interrupts of a busy stream. Here the
signal cancels the call from another thread, and the exception is raised once the call is over.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: Exit status of a process that was interrupted, as shells count it: 128 and the signal's number.
_INTERRUPTED = 130


class Shield:
    """One stay within gRPC; names the call to cancel."""

    def __init__(self) -> None:
        self.pending = False
        self._cancel: Callable[[], object] | None = None

    def watch(self, cancel: Callable[[], object]) -> None:
        """Has `cancel` called, from another thread, when the user interrupts."""
        self._cancel = cancel
        if self.pending:
            self.interrupt()

    def interrupt(self) -> None:
        """Cancels the call, now or once there is one."""
        self.pending = True
        if self._cancel is not None:
            # Not threading.Thread: its start takes locks that this thread may just hold.
            _thread.start_new_thread(self._cancel, ())


class Interrupts:
    """Does nothing until `installed`; then it handles SIGINT for the main thread."""

    def __init__(self) -> None:
        self._owner: int | None = None
        self._shield: Shield | None = None
        self._again = False

    @property
    def active(self) -> bool:
        """Whether this thread is the one that is interrupted."""
        return self._owner == threading.get_ident()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handles SIGINT within the block, which must run in the main thread to have an effect."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._owner = threading.get_ident()
        before = signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            self._owner = None

    @contextmanager
    def shield(self) -> Iterator[Shield]:
        """Within the block an interrupt cancels the watched call; it is raised at the end."""
        shield = Shield()
        if not self.active or self._shield is not None:
            yield shield
            return
        self._shield = shield
        try:
            yield shield
        finally:
            self._shield = None
            if shield.pending:
                raise KeyboardInterrupt

    def _handle(self, _signal: int, _frame: Any) -> None:
        if self._again:
            # The second Ctrl-C of an impatient user: whatever cleans up now is left at once.
            os._exit(_INTERRUPTED)
        self._again = True
        if self._shield is None:
            raise KeyboardInterrupt
        self._shield.interrupt()
