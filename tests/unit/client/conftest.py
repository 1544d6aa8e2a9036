from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from unit.client.fake_server import FakeServer

from labelmill.client import AsyncClient, Client, RetryPolicy
from labelmill.client.cli.main import run

#: Retries at once, so that tests of broken connections take no time.
QUICK = RetryPolicy(first_delay_s=0.001, max_delay_s=0.02)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    with Client(fake.address, timeout=10, reconnect_timeout=10, retry=QUICK) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(fake: FakeServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(fake.address, timeout=10, reconnect_timeout=10, retry=QUICK) as client:
        yield client


class Ran(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(
    fake: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Runs a command line against the fake server, in this process."""
    monkeypatch.setenv("LABELMILL_ADDRESS", fake.address)

    def call(*args: str | Path) -> Ran:
        code = run([str(arg) for arg in args])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(code, captured.out, captured.err)

    return call
