"""Worker processes for tests, each ended by its own process id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis

from labelmill.queue.keys import Keys


class WorkerProcess:
    """`python -m labelmill.worker`, with its log in a file."""

    def __init__(
        self, redis_url: str, registry: Path, log: Path, *, name: str = "w", **env: str
    ) -> None:
        self.name = name
        self.log = log
        self._url = redis_url
        self._output = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labelmill.worker"],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "LABELMILL_REDIS_URL": redis_url,
                "LABELMILL_REGISTRY": str(registry),
                "LABELMILL_WORKER_ID": name,
                "LABELMILL_TRAIN": "false",
                "LABELMILL_THREADS": "2",
                **env,
            },
        )

    def ready(self) -> WorkerProcess:
        """Waits until the worker has announced itself."""
        with redis.Redis.from_url(self._url) as client:
            deadline = time.monotonic() + 30
            while not client.exists(Keys().worker(self.name)):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"no worker: {self.log.read_text()}")
                time.sleep(0.02)
        return self

    def drain(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """As a crash would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._output.close()
