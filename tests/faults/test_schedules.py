"""Random fault schedules: whatever dies, every text ends with exactly one result.

`make test-faults SCHEDULES=200` runs many, `make test-faults SEED=17` reruns one.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
import tiny
from workers import WorkerProcess

from labelmill.queue.connection import TRANSIENT, connect, connect_async
from labelmill.queue.embedded import EmbeddedServer
from labelmill.queue.job import JobRecord, NewJob
from labelmill.queue.jobs import Cursor, JobStore
from labelmill.queue.keys import Keys
from labelmill.queue.leases import Leases
from labelmill.registry import Registry
from labelmill.v1.classification_pb2 import ScoringOptions
from labelmill.v1.scoring_pb2 import ScoringItem

TEXTS = 30_000

#: Idle time after which the schedule's reaper takes a lease back: a chunk takes milliseconds here,
#: so that only a dead or stopped worker lets one idle for so long. In ms.
LOST_AFTER_MS = 1_000

#: Least pause after a fault, so that work goes on in between, in s.
PAUSE_S = 0.3


def seeds() -> list[int]:
    if seed := os.environ.get("SEED"):
        return [int(seed)]
    return list(range(int(os.environ.get("SCHEDULES") or 2)))


class Schedule:
    """One Valkey, two workers, one job, and what happens to them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.log: list[str] = []
        self._folder = folder
        self._registry = Registry(folder / "registry")
        tiny.publish(self._registry)
        self.server = EmbeddedServer(folder / "valkey").start()
        self._started = 0
        self._workers = [self._worker(), self._worker()]

    def _worker(self) -> WorkerProcess:
        self._started += 1
        name = f"w{self._started}"
        return WorkerProcess(
            self.server.url, self._registry.root, self._folder / f"{name}.log", name=name
        )

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self.server.stop()

    def fault(self) -> None:
        name = self.random.choice(
            ["kill_worker", "stop_worker", "flush_scripts", "kill_clients", "kill_redis"]
        )
        self.log.append(name)
        getattr(self, name)()

    def kill_worker(self) -> None:
        victim = self.random.randrange(2)
        self._workers[victim].kill()
        self._workers[victim] = self._worker()

    def stop_worker(self) -> None:
        victim = self.random.choice(self._workers)
        victim.process.send_signal(signal.SIGSTOP)
        time.sleep(LOST_AFTER_MS / 1000)
        self.reap()
        victim.process.send_signal(signal.SIGCONT)

    def flush_scripts(self) -> None:
        with redis.Redis.from_url(self.server.url) as client:
            client.script_flush()

    def kill_clients(self) -> None:
        with redis.Redis.from_url(self.server.url) as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def kill_redis(self) -> None:
        self.server.kill()
        self.server.start()

    def reap(self) -> None:
        client = connect(self.server.url)
        with suppress(*TRANSIENT):
            Leases(client, "reaper", lease_ms=LOST_AFTER_MS).reap()
        client.close()


@pytest.fixture(params=seeds())
def schedule(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Schedule]:
    made = Schedule(request.param, tmp_path)
    yield made
    print(
        f"seed {request.param}: {' '.join(made.log)}; rerun: make test-faults SEED={request.param}"
    )
    made.close()


async def submit(store: JobStore) -> JobRecord:
    new = NewJob("t", "tiny", 1, "onnx-fp32", "NORMAL", ScoringOptions(), 1.0, 60_000, 0, "")
    record = await store.create(new)
    words = ["great", "dull"]
    items = [ScoringItem(text=words[i % 2], id=str(i)) for i in range(TEXTS)]
    await store.append(record, 0, items)
    return await store.seal(record.id)


@pytest.mark.timeout(150)
async def test_every_text_ends_with_one_result(schedule: Schedule) -> None:
    client = connect_async(schedule.server.url)
    store = JobStore(client)
    record = await submit(store)
    deadline = time.monotonic() + 120
    faults = schedule.random.randint(2, 5)
    while not record.final:
        assert time.monotonic() < deadline, f"not done: {record} after {schedule.log}"
        if faults:
            await asyncio.to_thread(schedule.fault)
            faults -= 1
        await asyncio.sleep(PAUSE_S)
        await asyncio.to_thread(schedule.reap)
        record = await store.get(record.id)
    assert (record.state, record.succeeded, record.failed) == ("SUCCEEDED", TEXTS, 0), schedule.log
    rows, cursor = [], Cursor()
    while len(rows) < TEXTS:
        page, cursor = await store.results(record.id, cursor, 10_000)
        assert page, f"results end at {len(rows)}"
        rows += page
    assert [row.id for row in rows] == [str(i) for i in range(TEXTS)]
    assert [row.result.label for row in rows] == ["good", "bad"] * (TEXTS // 2)
    await leftovers(client, record)
    await client.aclose()


async def leftovers(client: redis.asyncio.Redis, record: JobRecord) -> None:
    keys = Keys()
    assert await client.hget(keys.job(record.id), "leased") == b"0"
    assert await client.hget(keys.usage("t"), "texts") == b"0"
    assert await client.zcard(keys.ring("onnx")) == 0
    assert not await client.exists(keys.chunks(record.id))
    assert not [key async for key in client.scan_iter(match="*:in:*")]
