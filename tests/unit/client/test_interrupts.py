"""Ctrl-C while gRPC works: the call is cancelled, and the channel lives on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from unit.client.fake_server import FakeServer

from labelmill.client import Client
from labelmill.client._sync.interrupts import Interrupts


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    made = Interrupts()
    with made.installed():
        yield made


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_within_grpc_an_interrupt_waits_for_the_call_to_end(interrupts: Interrupts) -> None:
    cancelled = threading.Event()
    steps = []

    def call() -> None:
        with interrupts.shield() as shield:
            shield.watch(cancelled.set)
            interrupt()
            steps.append("still inside")
            assert cancelled.wait(10)
            steps.append("cancelled")

    with pytest.raises(KeyboardInterrupt):
        call()
    assert steps == ["still inside", "cancelled"]


def test_an_interrupt_before_there_is_a_call_cancels_it_once_there_is(
    interrupts: Interrupts,
) -> None:
    cancelled = threading.Event()

    def call() -> None:
        with interrupts.shield() as shield:
            interrupt()
            shield.watch(cancelled.set)
            assert cancelled.wait(10)

    with pytest.raises(KeyboardInterrupt):
        call()


def test_the_interrupt_wins_over_what_the_cancelled_call_raises(interrupts: Interrupts) -> None:
    def call() -> None:
        with interrupts.shield():
            interrupt()
            raise RuntimeError("cancelled")

    with pytest.raises(KeyboardInterrupt):
        call()


def test_elsewhere_it_is_raised_at_once(interrupts: Interrupts) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_other_threads_are_left_alone(interrupts: Interrupts) -> None:
    seen = []

    def work() -> None:
        with interrupts.shield() as shield:
            seen.append(interrupts.active)
            shield.watch(lambda: seen.append("cancelled"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_what_python_did_before_is_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().installed():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_the_channel_works_after_an_interrupted_stream(fake: FakeServer) -> None:
    fake.hold_results_at = 1
    with Client(fake.address) as client, client._transport.interrupts.installed():
        rows = client.score(["good", "bad"], model="reviews")
        assert next(rows).label == "positive"
        waiting = threading.Timer(0.05, interrupt)
        waiting.start()
        with pytest.raises(KeyboardInterrupt):
            next(rows)
        assert client.classify("good", model="reviews").results[0].label == "positive"
