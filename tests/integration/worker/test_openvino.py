"""A worker that serves the engines onnx and openvino, and one that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import need
from soak.memory import texts
from soak.model import publish
from workers import WorkerProcess

from labelmill.queue.connection import connect_async
from labelmill.queue.job import NewJob
from labelmill.queue.jobs import Cursor, JobStore
from labelmill.queue.keys import Keys
from labelmill.queue.presence import living
from labelmill.registry import Registry
from labelmill.v1.classification_pb2 import ScoringOptions
from labelmill.v1.scoring_pb2 import ScoringItem, ScoringResult
from labelmill.worker.engines.base import missing_library


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    missing = missing_library("openvino")
    need(missing is None, missing or "")
    registry = Registry(tmp_path / "registry")
    publish(registry, max_length=128)
    log = tmp_path / "worker.log"
    process = WorkerProcess(redis_url, registry.root, log, LABELMILL_ENGINES="onnx,openvino")
    yield process.ready()
    process.kill()


async def score(store: JobStore, rows: list[str], engine: str) -> list[ScoringResult]:
    new = NewJob("t", "soak", 1, engine, "NORMAL", ScoringOptions(), 1.0, 60_000, 0, "")
    record = await store.create(new)
    await store.append(record, 0, [ScoringItem(text=text) for text in rows])
    record = await store.seal(record.id)
    async for seen in store.watch(record.id):
        record = seen
    assert record.succeeded == len(rows), record
    results, cursor = [], Cursor()
    while True:
        page, cursor = await store.results(record.id, cursor, 1000)
        if not page:
            return results
        results += page


async def test_a_job_is_scored_as_on_onnx(redis_url: str, worker: WorkerProcess) -> None:
    rows = list(texts(600, 3, 50, seed=0))
    async with connect_async(redis_url) as client:
        store = JobStore(client)
        expected = await score(store, rows, "onnx-int8")
        results = await score(store, rows, "openvino-int8")
        (info,) = await living(client, Keys())
    assert info.engines == ["onnx-fp32", "onnx-int8", "openvino-int8"]
    assert not info.warnings
    assert "loaded soak@1 openvino-int8" in worker.log.read_text()
    for one, other in zip(results, expected, strict=True):
        assert one.result.label == other.result.label
        assert one.result.score == pytest.approx(other.result.score, abs=0.01)


def test_a_worker_without_the_library_says_what_to_install(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden" / "sitecustomize.py"
    hidden.parent.mkdir()
    hidden.write_text("import sys\nsys.modules['openvino'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden.parent))
    log = tmp_path / "worker.log"
    worker = WorkerProcess(redis_url, tmp_path, log, LABELMILL_ENGINES="onnx,openvino")
    try:
        assert worker.process.wait(30) == 1
    finally:
        worker.kill()
    said = log.read_text()
    assert "engine openvino needs openvino, not installed here" in said
    assert "pip install 'labelmill[openvino]'" in said
    assert "Traceback" not in said
