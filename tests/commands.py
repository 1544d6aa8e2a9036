"""The command line as a user runs it, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

#: Seconds that `up` gets to be ready, and to drain.
READY_S, DRAIN_S = 50, 30

LABELMILL = [str(Path(sys.executable).parent / "labelmill")]


def environment() -> dict[str, str]:
    """Without options from outside."""
    return {key: value for key, value in os.environ.items() if not key.startswith("LABELMILL_")}


def cli(*args: object, timeout_s: float = 55) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run(
        [*LABELMILL, *map(str, args)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=timeout_s,
        check=False,
    )


class Up:
    """A running `labelmill up --json`, ready; `ready` is its document."""

    def __init__(self, data_dir: Path, *options: object) -> None:
        self.data_dir = data_dir
        command = [*LABELMILL, "up", "--json", "--data-dir", str(data_dir), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--engines", "onnx", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.ready: dict[str, Any] = self._document()

    def _document(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line == "}\n":
                document: dict[str, Any] = json.loads("".join(lines))
                return document
        _, said = self.process.communicate()
        raise AssertionError(f"up ended with {self.process.returncode}: {said}")

    @property
    def address(self) -> str:
        """host:port of its server."""
        address: str = self.ready["address"]
        return address

    def wait_for_line(self, part: str) -> str:
        """Reads what it tells people until a line has `part`."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if part in line:
                return line
        raise AssertionError(f"it never said {part!r}")

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Sends a signal; the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=DRAIN_S)
        return self.process.returncode

    def close(self) -> None:
        """Ends it whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


StartUp = Callable[..., Up]


def alive(pids: Sequence[int]) -> list[int]:
    """Those of `pids` that still run."""
    running = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            running.append(pid)
    return running
