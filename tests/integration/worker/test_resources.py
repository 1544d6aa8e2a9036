"""What a worker takes of its machine: memory, threads, and padding it computes for nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from soak.memory import MOST_GROWTH, Soak, texts
from soak.model import publish
from workers import WorkerProcess

from labelmill.queue.connection import connect_async
from labelmill.queue.jobs import JobStore
from labelmill.queue.keys import Keys
from labelmill.queue.presence import WorkerInfo, living
from labelmill.registry import Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    publish(registry, max_length=128)
    return registry


@pytest.fixture
def worker(redis_url: str, registry: Registry, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker that finds its number of threads itself, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(cores)])
    try:
        log = tmp_path / "worker.log"
        process = WorkerProcess(redis_url, registry.root, log, LABELMILL_THREADS="0")
    finally:
        os.sched_setaffinity(0, cores)
    yield process.ready()
    process.kill()


@pytest.fixture
async def soak(redis_url: str, worker: WorkerProcess) -> AsyncIterator[Soak]:
    client = connect_async(redis_url)
    process = psutil.Process(worker.process.pid)
    yield Soak(JobStore(client), ("soak", 1, "onnx-int8"), process)
    await client.aclose()


async def told(redis_url: str) -> WorkerInfo:
    async with connect_async(redis_url) as client:
        (info,) = await living(client, Keys())
    return info


async def test_memory_does_not_grow_with_the_texts_scored(soak: Soak) -> None:
    """`make soak` does the same over a million."""
    watching = asyncio.create_task(soak.watch())
    most = []
    for seed in range(3):
        soak.most = 0
        await soak.score(texts(5_000, 3, 120, seed))
        soak.look()
        most.append(soak.most)
    watching.cancel()
    assert most[-1] / most[0] - 1 < MOST_GROWTH, most


async def test_threads_are_as_many_as_the_cores_it_may_use(
    redis_url: str, soak: Soak, worker: WorkerProcess
) -> None:
    process = psutil.Process(worker.process.pid)
    while "ready: engines onnx, 1 threads" not in worker.log.read_text():
        await asyncio.sleep(0.02)
    before = process.num_threads()
    await soak.score(texts(512, 3, 30, seed=0))
    assert process.num_threads() == before, "no pool of the tokenizer's or the engine's own"
    assert (await told(redis_url)).threads == 1


async def test_it_says_how_much_of_its_work_is_padding(
    redis_url: str, soak: Soak, worker: WorkerProcess
) -> None:
    assert (await told(redis_url)).padding_waste is None
    rows = list(texts(512, 3, 30, seed=0))
    await soak.score(iter(rows))
    while not (info := await told(redis_url)).tokens:
        await asyncio.sleep(0.05)
    assert info.tokens >= sum(len(text.split()) for text in rows) + 2 * len(rows)
    assert info.tokens <= info.padded_tokens
    assert info.padding_waste is not None
    assert 0 <= info.padding_waste < 0.5
    assert worker.drain() == 0
    assert f"scored {info.tokens} tokens" in worker.log.read_text()
