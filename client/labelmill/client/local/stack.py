"""Valkey, the server and the workers of one data directory.

Children are bound to this process: however it ends, they end too. Start and watch them from the
main thread.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labelmill.client.local import probes
from labelmill.client.local.child import Child
from labelmill.client.local.lock import DataDirLock
from labelmill.client.local.ports import HOST, check_free, free_port
from labelmill.errors import CancelledError, FailedPreconditionError
from labelmill.queue.embedded import EmbeddedServer

#: Seconds that everything together gets to become ready.
_READY_TIMEOUT_S = 90.0

#: Seconds between looks at the children.
_LOOK_S = 0.1

#: Seconds beyond its own drain time that a child gets before it is killed.
_DRAIN_MARGIN_S = 10.0

#: Seconds that the Valkey of an `up` that was killed gets to end.
_LEFT_BEHIND_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class StackOptions:
    """What to start."""

    data_dir: Path
    #: 0 takes a free one.
    port: int = 0
    workers: int = 1
    #: Engine families of the workers.
    engines: tuple[str, ...] = ("onnx",)
    #: None starts an embedded Valkey.
    redis_url: str | None = None
    #: Seconds that calls and work under way get when it ends.
    drain_s: float = 20.0


@dataclass(frozen=True)
class Ready:
    """A running stack."""

    address: str
    redis_url: str
    #: E.g. ``Valkey 9.1.2``.
    redis_version: str
    registry: Path
    log_dir: Path
    workers: int


class LocalStack:
    """The processes; use it as a context manager.

    Args:
        options: what to start.
        notify: is told what happens, in one line each.
        ending: set it to leave `watch`, or to give up `start`.
    """

    def __init__(
        self, options: StackOptions, notify: Callable[[str], None], ending: threading.Event
    ) -> None:
        self._options = options
        self._notify = notify
        self._ending = ending
        self._data_dir = options.data_dir.expanduser().resolve()
        self._log_dir = self._data_dir / "logs"
        self.registry = self._data_dir / "registry"
        self._lock: DataDirLock | None = None
        self._valkey: EmbeddedServer | None = None
        self._server: Child | None = None
        self._workers: list[Child] = []
        self._starts = 0

    def start(self) -> Ready:
        """Starts everything and returns when all of it is ready.

        Raises:
            FailedPreconditionError: the data directory or the port is in use, or a child did not
                start; nothing runs then.
            CancelledError: `ending` was set.
        """
        self._lock = DataDirLock(self._data_dir)
        try:
            return self._start(self._lock)
        except BaseException:
            self.stop()
            raise

    def _start(self, lock: DataDirLock) -> Ready:
        options = self._options
        port = options.port or free_port()
        check_free(port)
        redis_url = options.redis_url
        if redis_url is None:
            self._await_left_behind(lock)
            self._valkey = _embedded(self._data_dir / "valkey")
            redis_url = self._valkey.start().url
        address = f"{HOST}:{port}"
        environment = {
            "LABELMILL_REDIS_URL": redis_url,
            "LABELMILL_REGISTRY": str(self.registry),
            "LABELMILL_DRAIN_S": str(options.drain_s),
        }
        python = [sys.executable, "-m"]
        self._server = Child(
            "server",
            [*python, "labelmill.server"],
            {**environment, "LABELMILL_ADDRESS": address},
            self._log_dir,
        )
        self._workers = [
            Child(
                f"worker-{number}",
                [*python, "labelmill.worker"],
                {**environment, **_worker_environment(options)},
                self._log_dir,
            )
            for number in range(1, options.workers + 1)
        ]
        for child in self._children():
            self._start_child(child)
        self._await("the server", lambda: probes.server_is_ready(address))
        self._await("the workers", lambda: self._all_workers_live(redis_url))
        lock.publish({"pid": os.getpid(), "address": address, "redis_url": redis_url})
        return Ready(
            address=address,
            redis_url=redis_url,
            redis_version=probes.redis_version(redis_url),
            registry=self.registry,
            log_dir=self._log_dir,
            workers=options.workers,
        )

    def pids(self) -> dict[str, int]:
        """Process ids of what runs, by name."""
        valkey = {"valkey": self._valkey.pid} if self._valkey is not None else {}
        children = {child.name: child.pid for child in self._children()}
        return {name: pid for name, pid in {**valkey, **children}.items() if pid is not None}

    def watch(self) -> None:
        """Restarts what dies, until `ending` is set."""
        while not self._ending.wait(_LOOK_S):
            if self._valkey is not None and not self._valkey.running:
                self._notify("Valkey ended; starting it again")
                self._valkey.start()
            for child in self._children():
                code = child.exit_code()
                if code is not None:
                    delay_s = child.plan_restart()
                    self._notify(
                        f"{child.name} ended ({_cause(code)}); starting it again in {delay_s:g} s; "
                        f"its log is {child.log}"
                    )
                elif child.due():
                    self._start_child(child)

    def stop(self) -> None:
        """Drains in order: the server, then the workers, Valkey last."""
        wait_s = self._options.drain_s + _DRAIN_MARGIN_S
        for children in ([self._server] if self._server else [], self._workers):
            for child in children:
                child.terminate()
            for child in children:
                if not child.wait(wait_s):
                    self._notify(f"{child.name} did not end within {wait_s:g} s and was killed")
        self._server, self._workers = None, []
        if self._valkey is not None:
            self._valkey.stop()
            self._valkey = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> LocalStack:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _children(self) -> list[Child]:
        return [*([self._server] if self._server else []), *self._workers]

    def _start_child(self, child: Child) -> None:
        self._starts += 1
        # A fresh name each time: work that a dead worker held is taken over by its name.
        name = f"{socket.gethostname()}-{os.getpid()}-{self._starts}"
        child.environment["LABELMILL_WORKER_ID"] = name
        child.start()

    def _await(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not ready():
            if self._ending.is_set():
                raise CancelledError("interrupted while starting")
            for child in self._children():
                code = child.exit_code()
                if code is not None:
                    raise FailedPreconditionError(
                        f"the {child.name} did not start ({_cause(code)}): {child.last_words()} "
                        f"(its log is {child.log})"
                    )
            if time.monotonic() > deadline:
                raise FailedPreconditionError(
                    f"{what} did not become ready within {_READY_TIMEOUT_S:g} s; see the logs in "
                    f"{self._log_dir}"
                )
            self._ending.wait(_LOOK_S)

    def _all_workers_live(self, redis_url: str) -> bool:
        names = {info.name for info in probes.living_workers(redis_url)}
        return all(child.environment["LABELMILL_WORKER_ID"] in names for child in self._workers)

    def _await_left_behind(self, lock: DataDirLock) -> None:
        """Waits for the Valkey of an `up` that was killed: two may not write the same files."""
        if lock.last is None:
            return
        deadline = time.monotonic() + _LEFT_BEHIND_TIMEOUT_S
        while probes.answers(lock.last["redis_url"]):
            if time.monotonic() > deadline:
                raise FailedPreconditionError(
                    f"data_dir: a Valkey from an earlier run still uses {self._data_dir}; end it "
                    "first"
                )
            self._ending.wait(_LOOK_S)


def _worker_environment(options: StackOptions) -> dict[str, str]:
    environment = {"LABELMILL_ENGINES": ",".join(options.engines)}
    if options.workers > 1:
        cores = len(os.sched_getaffinity(0))
        environment["LABELMILL_THREADS"] = str(max(1, cores // options.workers))
    return environment


def _embedded(folder: Path) -> EmbeddedServer:
    """A Valkey on a unix socket, or on a loopback port where the socket's path is too long."""
    try:
        return EmbeddedServer(folder, bound=True)
    except FailedPreconditionError:
        return EmbeddedServer(folder, port=free_port(), bound=True)


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
