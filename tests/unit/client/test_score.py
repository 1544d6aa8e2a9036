"""`score` of both clients: order, resumption, backpressure, errors, leaving early."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from unit.client.conftest import QUICK
from unit.client.fake_server import FINAL, FakeServer

from labelmill import errors
from labelmill.client import AsyncClient, Client, ScoredText
from labelmill.client._wire import upload
from labelmill.v1 import scoring_pb2 as pb

AWAY = errors.QueueUnavailableError("Redis is away")

Score = Callable[..., Any]


@pytest.fixture(autouse=True)
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many messages from few texts."""
    monkeypatch.setattr(upload, "MAX_ITEMS", 64)


@pytest.fixture(params=["sync", "asyncio"])
def score(request: pytest.FixtureRequest, fake: FakeServer) -> Score:
    """Runs `score` of one of the two clients to its end."""

    async def run_async(*args: Any, **kwargs: Any) -> list[ScoredText]:
        async with AsyncClient(fake.address, reconnect_timeout=10, retry=QUICK) as client:
            return [row async for row in client.score(*args, **kwargs)]

    async def run_sync(*args: Any, **kwargs: Any) -> list[ScoredText]:
        with Client(fake.address, reconnect_timeout=10, retry=QUICK) as client:
            return list(client.score(*args, **kwargs))

    return run_sync if request.param == "sync" else run_async


def texts(count: int) -> list[str]:
    return [f"{'good' if n % 3 else 'bad'} text {n}" for n in range(count)]


def assert_complete(rows: list[ScoredText], count: int) -> None:
    assert [row.index for row in rows] == list(range(count))
    assert [row.label for row in rows] == [
        "positive" if n % 3 else "negative" for n in range(count)
    ]


async def test_rows_come_in_order(score: Score, fake: FakeServer) -> None:
    rows = await score(iter(texts(1000)), model="reviews")
    assert_complete(rows, 1000)
    assert rows[1].scores[0].label == "positive"
    assert rows[1].scores[0].score == 0.75
    (job,) = fake.jobs.values()
    assert job.message.state == pb.JOB_STATE_SUCCEEDED


async def test_no_texts_give_no_rows(score: Score) -> None:
    assert await score([], model="reviews") == []


async def test_ids_come_back(score: Score) -> None:
    rows = await score(texts(3), ids=["a", "b", "c"], model="reviews")
    assert [row.id for row in rows] == ["a", "b", "c"]


async def test_a_text_that_fails_is_a_row(score: Score) -> None:
    rows = await score(["good", "", "bad"], model="reviews")
    assert [row.label for row in rows] == ["positive", "", "negative"]
    assert rows[1].error is not None
    assert rows[1].error.reason == "EMPTY_TEXT"


async def test_an_upload_that_breaks_is_resumed(score: Score, fake: FakeServer) -> None:
    fake.fail("UploadScoringItems", AWAY, AWAY)
    fake.lose_reply("UploadScoringItems", AWAY)
    assert_complete(await score(texts(1000), model="reviews"), 1000)
    assert fake.calls["UploadScoringItems"] == 1000 // 64 + 1 + 3


async def test_a_seal_whose_answer_is_lost_counts(score: Score, fake: FakeServer) -> None:
    fake.lose_reply("UploadScoringItems", AWAY)
    assert_complete(await score(texts(10), model="reviews"), 10)


async def test_results_that_break_are_resumed(score: Score, fake: FakeServer) -> None:
    fake.break_streams_after.extend([0, 100, 300])
    assert_complete(await score(texts(1000), model="reviews"), 1000)
    assert fake.calls["StreamScoringResults"] == 4


async def test_an_overloaded_server_is_waited_for(score: Score, fake: FakeServer) -> None:
    full = errors.OverloadedError("the queue is full", retry_after_s=0.01)
    fake.fail("UploadScoringItems", *[full] * 20)
    assert_complete(await score(texts(200), model="reviews"), 200)


async def test_overload_without_a_time_is_an_error(score: Score, fake: FakeServer) -> None:
    fake.fail("UploadScoringItems", errors.OverloadedError("too large"))
    with pytest.raises(errors.OverloadedError):
        await score(texts(10), model="reviews")


async def test_a_server_that_restarts_is_found_again(score: Score, fake: FakeServer) -> None:
    def interrupted() -> Iterator[str]:
        for n, text in enumerate(texts(600)):
            if n == 300:
                fake.stop()
                fake.start()
            yield text

    assert_complete(await score(interrupted(), model="reviews"), 600)


async def test_an_unknown_model_is_named(score: Score) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="nosuch"):
        await score(texts(3), model="nosuch")


async def test_an_error_of_the_input_is_raised_and_the_job_cancelled(
    score: Score, fake: FakeServer
) -> None:
    def broken() -> Iterator[str]:
        yield from texts(100)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        await score(broken(), model="reviews")
    (job,) = fake.jobs.values()
    assert job.message.state == pb.JOB_STATE_CANCELLED


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (7, r"texts\[2\]: is of type int"),
        ("\ud800", r"texts\[2\]: is not valid Unicode"),
        ("x" * 1_100_000, r"texts\[2\]: has 1,100,000 bytes"),
    ],
)
async def test_a_text_that_cannot_be_sent_is_named(score: Score, bad: Any, message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        await score(["a", "b", bad], model="reviews")


async def test_one_string_is_no_list(score: Score) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="is one string"):
        await score("good", model="reviews")


@pytest.mark.parametrize(("ids", "message"), [(["a"], "only 1"), (["a"] * 9, "more than the 3")])
async def test_ids_must_be_as_many_as_texts(score: Score, ids: list[str], message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        await score(texts(3), ids=ids, model="reviews")


async def test_a_deadline_ends_a_job_that_stalls(score: Score, fake: FakeServer) -> None:
    stalled = threading.Event()

    def endless() -> Iterator[str]:
        yield "good"
        stalled.wait(20)

    with pytest.raises(errors.DeadlineError):
        await score(endless(), model="reviews", timeout=0.3)
    stalled.set()
    (job,) = fake.jobs.values()
    assert job.message.state == pb.JOB_STATE_CANCELLED


async def test_a_job_cancelled_by_another_is_an_error(score: Score, fake: FakeServer) -> None:
    def cancelled() -> Iterator[str]:
        yield from texts(100)
        with fake.changed:
            (job,) = fake.jobs.values()
            job.message.state = pb.JOB_STATE_CANCELLED
            fake.changed.notify_all()

    with pytest.raises((errors.CancelledError, errors.FailedPreconditionError)):
        await score(cancelled(), model="reviews")


async def test_a_stopped_job_with_gaps_is_said_to_be_cancelled(
    score: Score, fake: FakeServer
) -> None:
    fake.missing = {150}

    def cancelled() -> Iterator[str]:
        yield from texts(64)
        with fake.changed:
            (job,) = fake.jobs.values()
            job.items.extend(pb.ScoringItem(text="good") for _ in range(400))
            job.message.state = pb.JOB_STATE_CANCELLED
            fake.changed.notify_all()
        yield from texts(64)

    with pytest.raises((errors.CancelledError, errors.FailedPreconditionError)):
        await score(cancelled(), model="reviews")


def test_results_of_a_stopped_job_pass_over_its_gaps(fake: FakeServer, client: Client) -> None:
    job = client.create_job(texts(300), model="reviews")
    fake.missing = {7, 8, 250}
    expected = [n for n in range(300) if n not in fake.missing]
    assert [row.index for row in client.results(job.id)] == expected


def test_a_row_too_few_is_an_error(fake: FakeServer, client: Client) -> None:
    fake.missing = {7}
    with pytest.raises(errors.InternalError, match="sent result 8 where 7 was due"):
        list(client.score(texts(300), model="reviews"))


def test_results_come_while_the_input_is_still_read(client: Client) -> None:
    first = threading.Event()

    def waiting() -> Iterator[str]:
        yield from texts(64)
        assert first.wait(20)
        yield "good"

    rows = client.score(waiting(), model="reviews")
    assert next(rows).index == 0
    first.set()
    assert [row.index for row in rows] == list(range(1, 65))


def test_leaving_early_stops_the_input_and_cancels_the_job(
    fake: FakeServer, client: Client
) -> None:
    rows = client.score((f"good {n}" for n in itertools.count()), model="reviews")
    assert [next(rows).index for _ in range(3)] == [0, 1, 2]
    rows.close()
    (job,) = fake.jobs.values()
    assert job.message.state in FINAL
    assert not [t for t in threading.enumerate() if t.name.startswith("labelmill-upload")]


async def test_leaving_early_cancels_the_job_on_asyncio(
    fake: FakeServer, async_client: AsyncClient
) -> None:
    async def endless() -> AsyncIterator[str]:
        for n in itertools.count():
            yield f"good {n}"

    rows = async_client.score(endless(), model="reviews")
    async with contextlib.aclosing(rows):
        async for row in rows:
            if row.index == 2:
                break
    (job,) = fake.jobs.values()
    assert job.message.state in FINAL


async def test_an_async_iterable_is_read(async_client: AsyncClient) -> None:
    async def source() -> AsyncIterator[str]:
        for text in texts(200):
            yield text

    rows = [row async for row in async_client.score(source(), model="reviews")]
    assert_complete(rows, 200)


def test_an_upload_is_continued_at_its_offset(fake: FakeServer, client: Client) -> None:
    job = client.create_job(model="reviews")
    held = client.upload_items(job.id, texts(100), seal=False)
    assert (held.upload_offset, held.sealed) == (100, False)
    done = client.upload_items(job.id, texts(300)[100:], offset=held.upload_offset)
    assert done.sealed
    assert_complete(list(client.results(job.id)), 300)


def test_a_gap_says_where_to_go_on(client: Client) -> None:
    job = client.create_job(model="reviews")
    with pytest.raises(errors.OffsetGapError) as caught:
        client.upload_items(job.id, texts(3), offset=10)
    assert caught.value.metadata["expected_offset"] == "0"


def test_results_continue_in_another_process(client: Client) -> None:
    job = client.create_job(texts(350), model="reviews")
    batches = client.result_batches(job.id)
    first = next(batches)
    rest = client.result_batches(
        job.id, resume_token=first.resume_token, next_index=first.rows[-1].index + 1
    )
    assert_complete([*first.rows, *(row for batch in rest for row in batch.rows)], 350)
