"""One `labelmill up` a data directory, and where the one that runs can be reached."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import TypedDict

from labelmill.errors import FailedPreconditionError

#: Held locked while `up` runs; its content says where.
LOCK_FILE = "up.lock"

#: Seconds to try: whoever only asks whether `up` runs holds the lock for a moment.
_PATIENCE_S = 1.0


class State(TypedDict):
    """What a running `up` says of itself."""

    pid: int
    address: str
    redis_url: str


class DataDirLock:
    """The lock of one data directory; raises FailedPreconditionError when another `up` holds it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / LOCK_FILE
        data_dir.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                os.close(self._descriptor)
                raise _held(data_dir) from None
            else:
                #: What the last `up` here said of itself, in case it left processes behind.
                self.last = _read(self._path)
                return

    def publish(self, state: State) -> None:
        """Says where this `up` can be reached."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(state).encode(), 0)

    def release(self) -> None:
        """Frees the directory for another `up`."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def running(data_dir: Path) -> State | None:
    """The `up` that runs on `data_dir` now, None when none does or it is still starting."""
    path = data_dir / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    else:
        return None
    finally:
        os.close(descriptor)


def _read(path: Path) -> State | None:
    try:
        state: State = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return state


def _held(data_dir: Path) -> FailedPreconditionError:
    state = _read(data_dir / LOCK_FILE)
    who = f" (process {state['pid']}, on {state['address']})" if state else ""
    return FailedPreconditionError(
        f"data_dir: another `labelmill up`{who} uses {data_dir}; use that one, stop it, or give "
        "another --data-dir"
    )
