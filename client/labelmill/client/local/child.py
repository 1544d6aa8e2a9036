"""One child process with its log: started, watched, ended by its own process id."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from labelmill.lifetime import bound

#: Seconds before the first restart of a child that died; doubled each time, up to the most.
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0

#: A child that lived this long starts over with the first delay, in s.
_HEALTHY_S = 60.0

#: Characters of a log shown when its process died.
_LAST_WORDS = 600


class Child:
    """A process that is to run all the time.

    Args:
        name: for people and for the log's file name.
        command: program and arguments.
        environment: added to this process's own.
        log_dir: folder of its log.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log_dir: Path
    ) -> None:
        self.name = name
        self.log = log_dir / f"{name}.log"
        self._command = command
        self.environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._delay_s = _FIRST_DELAY_S
        self._restart_at: float | None = None

    def start(self) -> None:
        """Starts the process; its output is appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._restart_at = None
        self._started_at = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                bound(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                # ctrl-C reaches the whole foreground group; children are drained in order instead.
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def exit_code(self) -> int | None:
        """How it ended; None while it runs or waits to be restarted."""
        if self._process is None or self._restart_at is not None:
            return None
        return self._process.poll()

    def plan_restart(self) -> float:
        """Sets the time of its next start and returns the seconds until then."""
        now = time.monotonic()
        if now - self._started_at > _HEALTHY_S:
            self._delay_s = _FIRST_DELAY_S
        delay_s, self._delay_s = self._delay_s, min(self._delay_s * 2, _LONGEST_DELAY_S)
        self._restart_at = now + delay_s
        return delay_s

    def due(self) -> bool:
        """Whether a planned restart's time has come."""
        return self._restart_at is not None and time.monotonic() >= self._restart_at

    def terminate(self) -> None:
        """Asks it to drain and end."""
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def wait(self, timeout_s: float) -> bool:
        """Waits for its end; kills it when the time is up and returns False then."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def last_words(self) -> str:
        """The end of its log."""
        if not self.log.is_file():
            return "it said nothing"
        text = self.log.read_text(errors="replace")[-_LAST_WORDS:].strip()
        return text.splitlines()[-1] if text else "it said nothing"
