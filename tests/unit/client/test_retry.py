from __future__ import annotations

import os
import socket
import time

import pytest
from unit.client.conftest import QUICK
from unit.client.fake_server import FakeServer

from labelmill import errors
from labelmill.client import AsyncClient, Client, RetryPolicy

AWAY = errors.QueueUnavailableError("Redis is away")


def test_unavailable_is_tried_again(fake: FakeServer, client: Client) -> None:
    fake.fail("Classify", AWAY, AWAY, AWAY)
    assert client.classify("good", model="reviews").results[0].label == "positive"
    assert fake.calls["Classify"] == 4


async def test_unavailable_is_tried_again_on_asyncio(
    fake: FakeServer, async_client: AsyncClient
) -> None:
    fake.fail("Classify", AWAY, AWAY, AWAY)
    answer = await async_client.classify("good", model="reviews")
    assert answer.results[0].label == "positive"
    assert fake.calls["Classify"] == 4


@pytest.mark.parametrize(
    "error",
    [
        errors.OverloadedError("full", retry_after_s=0.001),
        errors.InternalError("broken"),
        errors.DeadlineError("late"),
        errors.ModelNotFoundError("none"),
    ],
)
def test_nothing_else_is_tried_again(
    fake: FakeServer, client: Client, error: errors.LabelmillError
) -> None:
    fake.fail("Classify", error)
    with pytest.raises(type(error)):
        client.classify("good", model="reviews")
    assert fake.calls["Classify"] == 1


def test_retries_end_with_the_deadline(fake: FakeServer) -> None:
    fake.fail("Classify", *[AWAY] * 10_000)
    begun = time.monotonic()
    with (
        Client(fake.address, retry=QUICK) as client,
        pytest.raises((errors.QueueUnavailableError, errors.DeadlineError)),
    ):
        client.classify("good", model="reviews", timeout=0.3)
    assert time.monotonic() - begun < 3
    assert 1 < fake.calls["Classify"] < 10_000


def test_retries_end_with_the_attempts(fake: FakeServer) -> None:
    fake.fail("Classify", *[AWAY] * 10)
    retry = RetryPolicy(max_attempts=3, first_delay_s=0.001)
    with Client(fake.address, retry=retry) as client, pytest.raises(errors.QueueUnavailableError):
        client.classify("good", model="reviews")
    assert fake.calls["Classify"] == 3


def test_a_create_whose_answer_is_lost_makes_one_job(fake: FakeServer, client: Client) -> None:
    fake.lose_reply("CreateScoringJob", AWAY)
    job = client.create_job(["good"], model="reviews")
    assert list(fake.jobs) == [job.id]


def test_what_must_not_happen_twice_is_sent_once(fake: FakeServer, client: Client) -> None:
    etag = client.get_model("reviews").etag
    fake.lose_reply("SetModelAlias", AWAY)
    with pytest.raises(errors.QueueUnavailableError):
        client.set_alias("reviews", "default", 3, etag=etag)
    assert fake.calls["SetModelAlias"] == 1


def test_a_server_that_never_answers_meets_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        with Client(address) as client, pytest.raises(errors.DeadlineError, match=address):
            client.get_job("x", timeout=0.3)
    assert time.monotonic() - begun < 5


def test_a_client_used_after_a_fork_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.classify("good", model="reviews")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(errors.FailedPreconditionError, match="make the client in the child"):
        client.classify("good", model="reviews")
