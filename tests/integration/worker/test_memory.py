from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from soak.memory import MOST_GROWTH, Soak, texts
from soak.model import publish
from workers import WorkerProcess

from labelmill.queue.connection import connect_async
from labelmill.queue.jobs import JobStore
from labelmill.registry import Registry


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    registry = Registry(tmp_path / "registry")
    publish(registry, max_length=128)
    process = WorkerProcess(redis_url, registry.root, tmp_path / "worker.log")
    yield process.ready()
    process.kill()


async def test_memory_does_not_grow_with_the_texts_scored(
    redis_url: str, worker: WorkerProcess
) -> None:
    """`make soak` does the same over a million."""
    client = connect_async(redis_url)
    soak = Soak(JobStore(client), ("soak", 1, "onnx-int8"), psutil.Process(worker.process.pid))
    watching = asyncio.create_task(soak.watch())
    most = []
    for seed in range(3):
        soak.most = 0
        await soak.score(texts(5_000, 3, 120, seed))
        soak.look()
        most.append(soak.most)
    watching.cancel()
    await client.aclose()
    assert most[-1] / most[0] - 1 < MOST_GROWTH, most
