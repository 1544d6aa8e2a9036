"""Fixtures shared by all tests: a real Valkey, and what to do when something is absent."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

# PyTorch's threads would spin while they wait for each other, and on a busy machine that is what
# keeps the other one from running; see docs/decisions/0011.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from labelmill.errors import FailedPreconditionError
from labelmill.queue.embedded import EmbeddedServer, find_binary

ROOT = Path(__file__).resolve().parent.parent


def need(found: bool, reason: str) -> None:
    """Skips with the reason where something is missing; in CI that is a failure."""
    if found:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled text beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    need(folder.is_dir(), f"no {folder}")
    return folder


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives TCP ports that nobody listens on now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedServer]:
    """One server for the whole run, on a unix socket."""
    try:
        find_binary()
    except FailedPreconditionError as error:
        need(False, error.message)
    with (
        tempfile.TemporaryDirectory(prefix="lm-") as folder,
        EmbeddedServer(Path(folder)) as server,
    ):
        yield server


@pytest.fixture
def redis_url(valkey: EmbeddedServer) -> str:
    """A URL of an empty database."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url
