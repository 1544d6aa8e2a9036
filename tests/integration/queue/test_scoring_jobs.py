from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from labelmill.errors import (
    FailedPreconditionError,
    JobNotFoundError,
    OffsetGapError,
    OverloadedError,
    QueueUnavailableError,
    RequestIdReusedError,
)
from labelmill.queue.connection import connect, connect_async
from labelmill.queue.job import JobRecord, NewJob
from labelmill.queue.jobs import Cursor, JobStore
from labelmill.queue.keys import GROUP, Keys
from labelmill.queue.leases import MAX_ERRORS, Lease, Leases
from labelmill.v1.classification_pb2 import ClassificationResult, ItemError, ScoringOptions
from labelmill.v1.scoring_pb2 import ScoringItem, ScoringResult


def new(tenant: str = "t", priority: str = "NORMAL", max_failed: float = 1.0) -> NewJob:
    return NewJob(
        tenant=tenant,
        model="m",
        version=1,
        engine="onnx-int8",
        priority=priority,
        options=ScoringOptions(),
        max_failed_fraction=max_failed,
        retention_ms=60_000,
        deadline_ms=0,
        display_name="",
    )


def items(count: int, start: int = 0) -> list[ScoringItem]:
    return [ScoringItem(text=f"text {i}", id=str(i)) for i in range(start, start + count)]


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    client = connect_async(redis_url)
    yield JobStore(client, max_queued_texts=10_000)
    await client.aclose()


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def leases(raw: redis.Redis) -> Leases:
    return Leases(raw, "worker-a")


async def filled(store: JobStore, count: int, **kwargs: object) -> JobRecord:
    record = await store.create(new(**kwargs))  # type: ignore[arg-type]
    await store.append(record, 0, items(count))
    return await store.seal(record.id)


def score(leases: Leases, lease: Lease, poison: str = "") -> list[ScoringResult]:
    texts = leases.read(lease)
    assert texts is not None
    rows = []
    for offset, item in enumerate(texts):
        result = ClassificationResult(label=item.text)
        if item.text == poison:
            result = ClassificationResult(error=ItemError(reason="ENGINE_FAILED", message="no"))
        rows.append(ScoringResult(index=lease.chunk + offset, id=item.id, result=result))
    return rows


def work(leases: Leases) -> int:
    chunks = 0
    while lease := leases.lease(["onnx"]):
        assert leases.commit(lease, score(leases, lease), tokens=1) == "COMMITTED"
        chunks += 1
    return chunks


async def all_rows(store: JobStore, job: str) -> list[ScoringResult]:
    rows, cursor = [], Cursor()
    while True:
        page, cursor = await store.results(job, cursor, 100)
        if not page:
            return rows
        rows += page


async def test_results_come_back_once_each_in_input_order(
    store: JobStore, leases: Leases, raw: redis.Redis
) -> None:
    record = await filled(store, 1000)
    assert work(leases) == 4
    done = await store.get(record.id)
    assert (done.state, done.total, done.succeeded, done.failed) == ("SUCCEEDED", 1000, 1000, 0)
    rows = await all_rows(store, record.id)
    assert [row.index for row in rows] == list(range(1000))
    assert [row.result.label for row in rows] == [f"text {i}" for i in range(1000)]
    keys = Keys()
    assert not raw.exists(keys.chunks(record.id))
    assert raw.zcard(keys.ring("onnx")) == 0
    assert raw.hget(keys.usage("t"), "texts") == b"0"
    assert not [key for key in raw.keys("*") if b":in:" in key]


async def test_streams_hold_no_text(store: JobStore, raw: redis.Redis) -> None:
    record = await filled(store, 3)
    entries = raw.xrange(Keys().chunks(record.id))
    assert [fields for _, fields in entries] == [{b"c": b"0"}]


async def test_uploading_a_part_twice_adds_nothing(store: JobStore, leases: Leases) -> None:
    record = await store.create(new())
    assert await store.append(record, 0, items(300)) == 300
    record = await store.get(record.id)
    assert await store.append(record, 0, items(300)) == 300
    assert await store.append(record, 200, items(200, start=200)) == 400
    await store.seal(record.id)
    work(leases)
    rows = await all_rows(store, record.id)
    assert [row.id for row in rows] == [str(i) for i in range(400)]


async def test_a_gap_in_the_upload_is_refused_with_the_offset_to_go_on_at(store: JobStore) -> None:
    record = await store.create(new())
    await store.append(record, 0, items(10))
    with pytest.raises(OffsetGapError) as caught:
        await store.append(await store.get(record.id), 20, items(5, start=20))
    assert caught.value.metadata["expected_offset"] == "10"


async def test_a_sealed_job_takes_no_more_texts(store: JobStore) -> None:
    record = await filled(store, 10)
    with pytest.raises(FailedPreconditionError, match="SEALED"):
        await store.append(record, 10, items(1, start=10))


async def test_texts_over_the_tenants_quota_are_refused_and_may_come_later(
    store: JobStore, leases: Leases
) -> None:
    record = await store.create(new())
    await store.append(record, 0, items(10_000))
    with pytest.raises(OverloadedError) as caught:
        await store.append(await store.get(record.id), 10_000, items(1, start=10_000))
    assert caught.value.retry_after_s
    work(leases)
    record = await store.get(record.id)
    assert await store.append(record, 10_000, items(1, start=10_000)) == 10_001


async def test_an_empty_sealed_job_has_succeeded(store: JobStore) -> None:
    record = await store.create(new())
    assert (await store.seal(record.id)).state == "SUCCEEDED"


async def test_repeating_a_request_id_returns_the_same_job(store: JobStore) -> None:
    first = await store.create(new(), request_id="r", digest=b"same")
    again = await store.create(new(), request_id="r", digest=b"same")
    assert again.id == first.id
    with pytest.raises(RequestIdReusedError):
        await store.create(new(), request_id="r", digest=b"other")


async def test_a_lost_lease_can_neither_beat_nor_commit(store: JobStore, raw: redis.Redis) -> None:
    record = await filled(store, 10)
    slow, quick = Leases(raw, "slow", lease_ms=0), Leases(raw, "quick", lease_ms=0)
    lost = slow.lease(["onnx"])
    assert lost is not None
    assert slow.beat(lost) == "HELD"
    rows = score(slow, lost)
    assert quick.reap() == 1
    assert slow.beat(lost) == "STALE"
    won = quick.lease(["onnx"])
    assert won is not None
    assert won.losses == 1
    assert slow.commit(lost, rows, tokens=1) == "STALE"
    assert not slow.release(lost, "RETURNED")
    assert quick.commit(won, score(quick, won), tokens=1) == "COMMITTED"
    assert slow.commit(lost, rows, tokens=1) == "STALE"
    done = await store.get(record.id)
    assert (done.state, done.succeeded, done.retried) == ("SUCCEEDED", 10, 1)


async def test_reaping_leaves_a_beaten_lease_alone(store: JobStore, raw: redis.Redis) -> None:
    await filled(store, 10)
    leases = Leases(raw, "a", lease_ms=60_000)
    lease = leases.lease(["onnx"])
    assert lease is not None
    assert leases.reap() == 0
    assert leases.beat(lease) == "HELD"


async def test_leases_of_a_dead_worker_are_open_at_once(store: JobStore, raw: redis.Redis) -> None:
    record = await filled(store, 600)
    dying, living = Leases(raw, "dying"), Leases(raw, "living")
    lost, held = dying.lease(["onnx"]), living.lease(["onnx"])
    assert lost is not None
    assert held is not None
    assert living.reap(["dying"]) == 1
    assert dying.commit(lost, score(dying, lost), tokens=1) == "STALE"
    assert living.commit(held, score(living, held), tokens=1) == "COMMITTED"
    assert work(living) == 2
    assert (await store.get(record.id)).succeeded == 600


async def test_one_bad_text_is_found_by_bisection_and_named(
    store: JobStore, leases: Leases, raw: redis.Redis
) -> None:
    record = await filled(store, 256)
    keys, poison = Keys(), "text 77"
    for _ in range(200):
        if (await store.get(record.id)).final:
            break
        # Retries are due at once.
        for member in raw.zrange(keys.delayed(), 0, -1):
            raw.zadd(keys.delayed(), {member: 0})
        leases.promote()
        lease = leases.lease(["onnx"])
        if lease is None:
            continue
        texts = leases.read(lease)
        assert texts is not None
        if lease.exhausted and len(texts) > 1:
            assert leases.split(lease, texts)
        elif any(item.text == poison for item in texts) and not lease.exhausted:
            assert leases.release(lease, "ERROR")
        else:
            assert leases.commit(lease, score(leases, lease, poison), tokens=1) == "COMMITTED"
    done = await store.get(record.id)
    assert (done.state, done.succeeded, done.failed) == ("PARTIALLY_SUCCEEDED", 255, 1)
    rows = await all_rows(store, record.id)
    assert [row.index for row in rows] == list(range(256))
    assert [row.index for row in rows if row.result.HasField("error")] == [77]
    assert await store.item_errors(record.id) == {"ENGINE_FAILED": 1}
    # A level costs its two halves and the lease that splits; far below three tries a text.
    assert done.retried <= MAX_ERRORS + 3 * 8


async def test_too_many_failed_texts_fail_the_job(store: JobStore, leases: Leases) -> None:
    record = await store.create(new(max_failed=0.05))
    await store.append(record, 0, items(10))
    await store.seal(record.id)
    lease = leases.lease(["onnx"])
    assert lease is not None
    leases.commit(lease, score(leases, lease, poison="text 3"), tokens=1)
    done = await store.get(record.id)
    assert (done.state, done.error_reason) == ("FAILED", "TOO_MANY_FAILED")


async def test_cancel_waits_for_leased_chunks_and_frees_the_rest(
    store: JobStore, leases: Leases, raw: redis.Redis
) -> None:
    record = await filled(store, 1000)
    lease = leases.lease(["onnx"])
    assert lease is not None
    assert (await store.stop(record.id)).state == "CANCELLING"
    assert leases.beat(lease) == "STOP"
    assert leases.lease(["onnx"]) is None
    assert leases.release(lease, "RETURNED")
    assert (await store.get(record.id)).state == "CANCELLED"
    leases.reap()
    assert not [key for key in raw.keys("*") if b":in:" in key]
    assert raw.hget(Keys().usage("t"), "texts") == b"0"
    assert (await store.stop(record.id)).state == "CANCELLED"


async def test_a_finished_job_cannot_be_cancelled(store: JobStore, leases: Leases) -> None:
    record = await filled(store, 10)
    work(leases)
    with pytest.raises(FailedPreconditionError, match="SUCCEEDED"):
        await store.stop(record.id)


async def test_a_paused_job_hands_out_nothing_until_resumed(
    store: JobStore, leases: Leases
) -> None:
    record = await filled(store, 600)
    assert (await store.pause(record.id)).state == "PAUSED"
    assert leases.lease(["onnx"]) is None
    assert (await store.pause(record.id, resume=True)).state == "QUEUED"
    assert work(leases) == 3


async def test_a_job_past_its_deadline_expires(store: JobStore, leases: Leases) -> None:
    job = NewJob(**{**new().__dict__, "deadline_ms": 1})
    record = await store.create(job)
    await store.append(record, 0, items(10))
    leases.reap()
    expired = await store.get(record.id)
    assert (expired.state, expired.error_reason) == ("EXPIRED", "DEADLINE_EXCEEDED")


async def test_tenants_share_by_weight(store: JobStore, leases: Leases) -> None:
    first = await filled(store, 256 * 20, tenant="first", priority="NORMAL")
    second = await filled(store, 256 * 20, tenant="second", priority="LOW")
    counts = {first.id: 0, second.id: 0}
    for _ in range(20):
        lease = leases.lease(["onnx"])
        assert lease is not None
        counts[lease.job.id] += 1
        leases.commit(lease, score(leases, lease), tokens=1)
    assert counts == {first.id: 16, second.id: 4}


async def test_retention_frees_everything(
    store: JobStore, leases: Leases, raw: redis.Redis
) -> None:
    record = await filled(store, 600)
    work(leases)
    raw.zadd(Keys().expire(), {record.id: 0})
    leases.reap()
    with pytest.raises(JobNotFoundError):
        await store.get(record.id)
    left = {key.decode() for key in raw.keys("*")}
    assert not [key for key in left if record.id in key]


async def test_deleting_a_job_frees_everything(
    store: JobStore, leases: Leases, raw: redis.Redis
) -> None:
    record = await filled(store, 600)
    with pytest.raises(FailedPreconditionError, match="cancel it first"):
        await store.delete(record.id)
    work(leases)
    await store.delete(record.id)
    assert not [key for key in raw.keys("*") if record.id.encode() in key]


async def test_scripts_survive_a_script_flush(
    store: JobStore, leases: Leases, raw: redis.Redis
) -> None:
    record = await filled(store, 600)
    raw.script_flush()
    assert work(leases) == 3
    assert (await store.get(record.id)).state == "SUCCEEDED"


async def test_no_pending_entry_is_left(store: JobStore, leases: Leases, raw: redis.Redis) -> None:
    record = await store.create(new())
    await store.append(record, 0, items(600))
    work(leases)
    # Unsealed, so the stream is still there to look at.
    assert raw.xpending(Keys().chunks(record.id), GROUP)["pending"] == 0
    assert raw.xlen(Keys().chunks(record.id)) == 0


@pytest.mark.parametrize("job", ["", "nonsense", "score-0-", "score-x-1", "score-0-123"])
async def test_an_unknown_job_is_not_found(store: JobStore, job: str) -> None:
    with pytest.raises(JobNotFoundError):
        await store.get(job)


@pytest.mark.timeout(30)
async def test_work_that_redis_does_not_sync_is_not_acknowledged(
    store: JobStore, raw: redis.Redis
) -> None:
    record = await store.create(new())
    await store.append(record, 0, items(10))
    raw.config_set("appendfsync", "no")
    try:
        with pytest.raises(QueueUnavailableError, match="appendfsync"):
            await store.seal(record.id)
    finally:
        raw.config_set("appendfsync", "everysec")
    assert (await store.seal(record.id)).sealed
