from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from unit.client.fake_server import FakeServer

from labelmill.client import AsyncClient, Client, RetryPolicy

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
