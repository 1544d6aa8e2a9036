"""What a server needs of the queue beyond single jobs: pages, gaps, a Redis that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from labelmill.internal.v1.queue_pb2 import OnlineRequest
from labelmill.queue.connection import connect, connect_async
from labelmill.queue.embedded import EmbeddedServer
from labelmill.queue.job import NewJob
from labelmill.queue.jobs import Cursor, JobStore
from labelmill.queue.keys import Keys
from labelmill.queue.leases import Leases
from labelmill.queue.listing import Place
from labelmill.queue.online import OnlineClient
from labelmill.v1.classification_pb2 import ClassificationResult, ScoringOptions
from labelmill.v1.scoring_pb2 import ScoringItem, ScoringResult


def new() -> NewJob:
    return NewJob(
        tenant="t",
        model="m",
        version=1,
        engine="onnx-int8",
        priority="NORMAL",
        options=ScoringOptions(),
        max_failed_fraction=1.0,
        retention_ms=60_000,
        deadline_ms=0,
        display_name="",
    )


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    client = connect_async(redis_url)
    yield JobStore(client)
    await client.aclose()


async def test_pages_miss_no_job_made_in_the_same_millisecond(
    store: JobStore, redis_url: str
) -> None:
    made = [(await store.create(new())).id for _ in range(7)]
    with redis.Redis.from_url(redis_url) as raw:
        raw.zadd(
            Keys().jobs(), {job: 1000 if index < 5 else 2000 for index, job in enumerate(made)}
        )

    seen: list[str] = []
    after: Place | None = None
    while True:
        records, after = await store.newest(after=after, limit=2)
        seen += [record.id for record in records]
        if after is None:
            break

    assert sorted(seen) == sorted(made)
    assert set(seen[:2]) == set(made[5:])


async def test_results_of_a_stopped_job_go_on_after_texts_never_scored(
    store: JobStore, redis_url: str
) -> None:
    record = await store.create(new())
    await store.append(record, 0, [ScoringItem(text=f"t{i}") for i in range(600)])
    client = connect(redis_url)
    leases = Leases(client, "w")
    held, done = leases.lease(["onnx"]), leases.lease(["onnx"])
    assert held is not None
    assert done is not None
    texts = leases.read(done)
    assert texts is not None
    rows = [
        ScoringResult(index=done.chunk + i, result=ClassificationResult(label="x"))
        for i in range(len(texts))
    ]
    assert leases.commit(done, rows, tokens=1) == "COMMITTED"
    leases.release(held, "RETURNED")
    client.close()
    await store.stop(record.id)

    assert await store.results(record.id, Cursor(), 1000) == ([], Cursor())
    found, cursor = await store.results(record.id, Cursor(), 1000, skip_gaps=True)
    assert [row.index for row in found] == list(range(256, 512))
    assert await store.results(record.id, cursor, 1000, skip_gaps=True) == ([], cursor)


async def test_waiting_texts_are_counted_per_tenant(store: JobStore) -> None:
    assert await store.waiting("t") == 0
    record = await store.create(new())
    await store.append(record, 0, [ScoringItem(text="a"), ScoringItem(text="b")])
    assert await store.waiting("t") == 2
    assert await store.waiting("other") == 0


async def test_more_calls_than_connections_wait_for_one(redis_url: str) -> None:
    client = connect_async(redis_url, connections=4)
    answers = await asyncio.gather(*(client.ping() for _ in range(200)))
    assert all(answers)
    await client.aclose()


async def test_a_lost_redis_ends_waiting_calls_at_once() -> None:
    with tempfile.TemporaryDirectory(prefix="lm-") as folder:
        server = EmbeddedServer(Path(folder)).start()
        client = connect_async(server.url)
        online = OnlineClient(client, "s")
        running = asyncio.create_task(online.run())
        deadline_ms = int(time.time() * 1000) + 60_000
        call = asyncio.create_task(
            online.call(OnlineRequest(id="r", engine="onnx-int8", deadline_ms=deadline_ms))
        )
        with redis.Redis.from_url(server.url) as raw:
            while not raw.exists(Keys().online_request("r")):
                await asyncio.sleep(0)
        server.kill()

        reply = await asyncio.wait_for(call, 10)
        assert reply.error.reason == "QUEUE_UNAVAILABLE"
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await client.aclose()
