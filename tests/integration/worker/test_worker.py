from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
import tiny
from workers import WorkerProcess

from labelmill.internal.v1.queue_pb2 import OnlineReply, OnlineRequest
from labelmill.queue.connection import connect, connect_async
from labelmill.queue.embedded import EmbeddedServer
from labelmill.queue.job import JobRecord, NewJob
from labelmill.queue.jobs import Cursor, JobStore
from labelmill.queue.keys import GROUP, Keys
from labelmill.queue.leases import Leases
from labelmill.queue.online import OnlineClient, OnlineLane, Ticket
from labelmill.registry import Registry
from labelmill.v1.classification_pb2 import LONG_TEXT_POLICY_REJECT, ScoringOptions
from labelmill.v1.scoring_pb2 import ScoringItem, ScoringResult
from labelmill.worker.finisher import Finisher
from labelmill.worker.models import ModelCache
from labelmill.worker.online import OnlineIntake
from labelmill.worker.scheduler import Scheduler

Start = Callable[..., WorkerProcess]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    tiny.publish(registry)
    return registry


@pytest.fixture
def start(redis_url: str, registry: Registry, tmp_path: Path) -> Iterator[Start]:
    started: list[WorkerProcess] = []

    def launch(name: str = "w", url: str = redis_url, **env: str) -> WorkerProcess:
        log = tmp_path / f"{name}-{len(started)}.log"
        started.append(WorkerProcess(url, registry.root, log, name=name, **env))
        return started[-1].ready()

    yield launch
    for worker in started:
        worker.kill()


@pytest.fixture
async def online(redis_url: str) -> AsyncIterator[OnlineClient]:
    client = connect_async(redis_url)
    lane = OnlineClient(client, "server-1")
    pump = asyncio.create_task(lane.run())
    yield lane
    pump.cancel()
    with suppress(asyncio.CancelledError):
        await pump
    await client.aclose()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    client = connect_async(redis_url)
    yield JobStore(client)
    await client.aclose()


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


def request(texts: list[str], timeout_s: float = 20, **changes: object) -> OnlineRequest:
    now = int(time.time() * 1000)
    fields = {
        "id": uuid.uuid4().hex,
        "model": "tiny",
        "version": 1,
        "engine": "onnx-fp32",
        "texts": texts,
        "enqueued_ms": now,
        "deadline_ms": now + int(timeout_s * 1000),
    }
    return OnlineRequest(**(fields | changes))  # type: ignore[arg-type]


def labels(reply: OnlineReply) -> list[str]:
    assert reply.WhichOneof("outcome") == "response", reply
    return [result.label for result in reply.response.results]


async def job(store: JobStore, texts: list[str], version: int = 1) -> JobRecord:
    new = NewJob("t", "tiny", version, "onnx-fp32", "NORMAL", ScoringOptions(), 1.0, 60_000, 0, "")
    record = await store.create(new)
    await store.append(
        record, 0, [ScoringItem(text=text, id=str(i)) for i, text in enumerate(texts)]
    )
    return await store.seal(record.id)


async def finished(store: JobStore, record: JobRecord) -> JobRecord:
    async with asyncio.timeout(50):
        async for seen in store.watch(record.id):
            record = seen
    return record


async def rows_of(store: JobStore, record: JobRecord) -> list[ScoringResult]:
    rows, cursor = [], Cursor()
    while True:
        page, cursor = await store.results(record.id, cursor, 1000)
        if not page:
            return rows
        rows += page


async def test_a_request_is_answered_in_input_order(start: Start, online: OnlineClient) -> None:
    start()
    texts = ["great", "dull", "the great the", "dull dull fine"] * 64
    reply = await online.call(request(texts))
    assert labels(reply) == ["good", "bad", "good", "bad"] * 64
    response = reply.response
    assert (response.model, response.model_version, response.engine) == ("tiny", 1, "onnx-fp32")
    assert response.results[0].token_count == 3
    assert response.batch_size > 1
    assert response.inference_ms > 0


async def test_a_long_text_is_cut_and_said_to_be(start: Start, online: OnlineClient) -> None:
    start()
    texts = ["fine " * 40 + "dull " * 100, "fine"]
    cut, short = (await online.call(request(texts))).response.results
    assert (cut.truncated, cut.token_count, cut.label) == (True, 142, "good")
    assert not short.truncated
    options = ScoringOptions(long_text_policy=LONG_TEXT_POLICY_REJECT)
    refused, served = (await online.call(request(texts, options=options))).response.results
    assert (refused.error.reason, refused.label) == ("TEXT_TOO_LONG", "")
    assert served.label == "good"


async def test_a_failing_text_is_answered_with_an_error(start: Start, online: OnlineClient) -> None:
    start()
    reply = await online.call(request(["poison"]))
    assert reply.error.reason == "INTERNAL"
    assert labels(await online.call(request(["great"]))) == ["good"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"version": 9}, "MODEL_NOT_FOUND"), ({"engine": "onnx-int8"}, "ENGINE_UNAVAILABLE")],
)
async def test_what_cannot_be_loaded_is_answered_with_its_reason(
    start: Start, online: OnlineClient, change: dict[str, object], reason: str
) -> None:
    start()
    assert (await online.call(request(["great"], **change))).error.reason == reason


async def test_an_altered_model_file_is_refused(
    start: Start, online: OnlineClient, registry: Registry
) -> None:
    file = registry.path("tiny", 1) / "model.fp32.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    start()
    reply = await online.call(request(["great"]))
    assert reply.error.reason == "ARTIFACT_CORRUPT"
    assert "model.fp32.onnx" in reply.error.message


async def test_a_withdrawn_request_leaves_nothing_behind(
    start: Start, online: OnlineClient, raw: redis.Redis
) -> None:
    call = asyncio.create_task(online.call(request(["great"])))
    stream = Keys().online("onnx")
    async with asyncio.timeout(5):
        while not raw.exists(stream) or not raw.xlen(stream):
            await asyncio.sleep(0)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    start()
    assert labels(await online.call(request(["dull"]))) == ["bad"]
    assert raw.xlen(stream) == 0


async def test_a_job_ends_with_every_text_scored_once(start: Start, store: JobStore) -> None:
    texts = [["great", "dull", ""][i % 3] for i in range(3000)]
    record = await job(store, texts)
    start()
    done = await finished(store, record)
    assert (done.state, done.succeeded, done.failed) == ("PARTIALLY_SUCCEEDED", 2000, 1000)
    rows = await rows_of(store, done)
    assert [row.index for row in rows] == list(range(3000))
    assert [row.result.label for row in rows[:2]] == ["good", "bad"]
    assert {row.result.error.reason for row in rows[2::3]} == {"EMPTY_TEXT"}


@pytest.mark.timeout(120)
async def test_one_poison_text_costs_one_row(
    start: Start, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["great"] * 300
    texts[77] = "poison"
    record = await job(store, texts)
    start()
    done = await finished(store, record)
    assert (done.state, done.succeeded, done.failed) == ("PARTIALLY_SUCCEEDED", 299, 1)
    rows = await rows_of(store, done)
    assert [row.index for row in rows if row.result.HasField("error")] == [77]
    assert rows[77].result.error.reason == "ENGINE_FAILED"


async def test_a_job_whose_model_is_gone_fails_by_name(start: Start, store: JobStore) -> None:
    record = await job(store, ["great"] * 1000, version=5)
    start()
    done = await finished(store, record)
    assert (done.state, done.error_reason) == ("FAILED", "MODEL_NOT_FOUND")


async def test_killing_the_worker_loses_and_doubles_nothing(
    start: Start, store: JobStore, raw: redis.Redis
) -> None:
    record = await job(store, ["great", "dull"] * 20_000)
    worker = start("doomed")
    async with asyncio.timeout(30):
        async for seen in store.watch(record.id):
            if seen.succeeded:
                break
    worker.kill()
    broken = await store.get(record.id)
    assert 0 < broken.succeeded < 40_000
    # What the reaper does after a minute, at once.
    Leases(raw, "reaper", lease_ms=0).reap()
    start("heir")
    done = await finished(store, record)
    assert (done.state, done.succeeded, done.failed) == ("SUCCEEDED", 40_000, 0)
    rows = await rows_of(store, done)
    assert [row.index for row in rows] == list(range(40_000))
    assert [row.result.label for row in rows] == ["good", "bad"] * 20_000


async def test_a_requests_worker_dies_and_another_answers(
    start: Start, online: OnlineClient, raw: redis.Redis
) -> None:
    worker = start("doomed")
    assert labels(await online.call(request(["great"]))) == ["good"]
    worker.process.send_signal(signal.SIGSTOP)
    call = asyncio.create_task(online.call(request(["dull"], timeout_s=40)))
    stream = Keys().online("onnx")
    # The stopped worker's blocked read takes the request.
    async with asyncio.timeout(5):
        while not raw.xpending(stream, GROUP)["pending"]:
            await asyncio.sleep(0)
    worker.kill()
    raw.unlink(Keys().worker("doomed"))
    start("heir")
    assert labels(await call) == ["bad"]


async def test_sigterm_finishes_what_was_taken(
    start: Start, store: JobStore, raw: redis.Redis
) -> None:
    record = await job(store, ["great"] * 20_000)
    worker = start()
    async with asyncio.timeout(30):
        async for seen in store.watch(record.id):
            if seen.succeeded:
                break
    assert worker.drain() == 0
    keys = Keys()
    assert raw.xpending(keys.chunks(record.id), GROUP)["pending"] == 0
    assert raw.hget(keys.job(record.id), "leased") == b"0"
    assert not raw.exists(keys.worker("w"))


async def test_work_goes_on_after_redis_comes_back(
    start: Start, tmp_path: Path, registry: Registry
) -> None:
    # One of its own, to stop and start.
    server = EmbeddedServer(tmp_path / "valkey").start()
    try:
        client = connect_async(server.url)
        store = JobStore(client)
        start(url=server.url)
        first = await finished(store, await job(store, ["great"] * 10))
        server.stop()
        server.start()
        second = await finished(store, await job(store, ["dull"] * 10))
        assert (first.state, second.state) == ("SUCCEEDED", "SUCCEEDED")
        assert (await store.get(first.id)).succeeded == 10
        await client.aclose()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"LABELMILL_REDIS_URL": "redis://127.0.0.1:1/0"}, "does not answer"),
        ({"LABELMILL_REDIS_URL": "nonsense"}, "redis_url"),
        ({"LABELMILL_ENGINES": "onnx,tpu"}, "engines: 'tpu' is none of"),
    ],
)
def test_a_worker_that_cannot_start_says_why(
    redis_url: str, tmp_path: Path, env: dict[str, str], message: str
) -> None:
    worker = WorkerProcess(redis_url, tmp_path, tmp_path / "log", **env)
    try:
        assert worker.process.wait(30) == 1
        output = worker.log.read_text()
        assert message in output
        assert "Traceback" not in output
    finally:
        worker.kill()


def test_a_redis_that_evicts_is_refused(redis_url: str, tmp_path: Path, raw: redis.Redis) -> None:
    raw.config_set("maxmemory-policy", "allkeys-lru")
    worker = WorkerProcess(redis_url, tmp_path, tmp_path / "log")
    try:
        assert worker.process.wait(30) == 1
        assert "maxmemory-policy" in worker.log.read_text()
    finally:
        worker.kill()
        raw.config_set("maxmemory-policy", "noeviction")


async def test_late_work_is_computed_although_redis_cannot_say_whether_it_is_wanted(
    tmp_path: Path, registry: Registry
) -> None:
    server = EmbeddedServer(tmp_path / "valkey").start()
    client = connect(server.url)
    lane = OnlineLane(client, "w")
    lane.open(["onnx"])
    scheduler, finisher = Scheduler(), Finisher()
    models = ModelCache(registry, limit=1, threads=1)
    intake = OnlineIntake(lane, models, scheduler, finisher)
    ticket = Ticket("onnx", b"1-0", request(["great"]))
    intake.accept([ticket])
    server.stop()
    batch = scheduler.next()
    assert batch is not None
    assert batch.parts[0].work.wanted()
    client.close()


async def test_a_chunk_of_nothing_but_blank_texts_ends(start: Start, store: JobStore) -> None:
    record = await job(store, [" ", "", "\t\n"])
    start()
    done = await finished(store, record)
    assert (done.state, done.succeeded, done.failed) == ("PARTIALLY_SUCCEEDED", 0, 3)
