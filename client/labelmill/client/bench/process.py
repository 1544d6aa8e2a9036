"""Processes of a benchmark: started with a fixed number of threads, spoken to in JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from labelmill.errors import InternalError, LabelmillError, by_reason
from labelmill.lifetime import bound

#: Every library's own way to be told how many threads to use.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)

#: Seconds that a process gets to end by itself once its pipe is closed.
_END_TIMEOUT_S = 5.0

#: Characters of a log shown when its process ended unasked.
_LAST_WORDS = 800


def environment(threads: int) -> dict[str, str]:
    """This process's environment with `threads` for every library, and no network for models."""
    return {
        **os.environ,
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def run_module(module: str, arguments: Sequence[str], threads: int, log: Path) -> dict[str, Any]:
    """Runs a module to its end and returns the JSON object on its last line of output.

    Raises:
        LabelmillError: the one that the module reported.
        InternalError: it ended without an answer; the message has its last words.
    """
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            bound([sys.executable, "-m", module, *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment(threads),
        )
        try:
            out, _ = process.communicate()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    lines = out.decode().splitlines()
    if process.returncode and not lines:
        raise _crashed(module, process.returncode, log)
    return checked(json.loads(lines[-1])) if lines else {}


class Contender:
    """A contender's process; use it as a context manager.

    Args:
        name: e.g. ``onnx-int8``.
        job_file: what `labelmill.worker.bench.prepare` wrote.
        threads: threads it may use.
        log: file for what it writes to stderr.
    """

    def __init__(self, name: str, job_file: Path, threads: int, log: Path) -> None:
        self.name = name
        self._log_path = log
        self._log = log.open("ab")
        started = time.perf_counter()
        module = "labelmill.worker.bench.contender"
        self._process = subprocess.Popen(
            bound([sys.executable, "-m", module, name, str(job_file)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(threads),
            text=True,
            # ctrl-C reaches the whole foreground group; this process is stopped by us alone.
            start_new_session=True,
        )
        try:
            self.ready = self._answer()
        except BaseException:
            self.close()
            raise
        #: From the start of the process until it could score, libraries included.
        self.load_seconds = time.perf_counter() - started

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Sends one command and returns its answer; raises what the contender reported."""
        pipe = _pipe(self._process.stdin)
        try:
            pipe.write(json.dumps({"do": do, **arguments}) + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise self._lost() from None
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        pipe = _pipe(self._process.stdin)
        try:
            pipe.close()
            self._process.wait(_END_TIMEOUT_S)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()
        self._log.close()

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise self._lost()
        return checked(json.loads(line))

    def _lost(self) -> InternalError:
        return _crashed(self.name, self._process.wait(), self._log_path)


def checked(answer: dict[str, Any]) -> dict[str, Any]:
    """`answer`, unless it is an error: that is raised as the class it was."""
    if "error" in answer:
        error = answer["error"]
        kind: type[LabelmillError] = by_reason().get(error["reason"], InternalError)
        raise kind(error["message"])
    return answer


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _crashed(name: str, code: int, log: Path) -> InternalError:
    words = log.read_text(errors="replace")[-_LAST_WORDS:].strip()
    return InternalError(f"{name} ended with exit code {code}: {words or 'it said nothing'}")
