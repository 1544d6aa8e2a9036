from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.worker.engines import cost as module
from labelmill.worker.engines.cost import LEAST_BATCH_MS, CostModel, fit, measure

SHAPES = [(1, 8), (1, 32), (4, 8), (1, 128), (4, 32), (16, 8), (4, 128), (16, 32), (64, 8)]
MINILM = CostModel(batch_ms=1.1, row_ms=0.01, token_ms=0.031, pair_ms=0.00013)


class Clocked:
    """An engine that takes as long as it is told, on a clock of its own."""

    name = "clocked"
    max_batch_tokens = 512

    def __init__(self, monkeypatch, takes):
        self.now = 0.0
        self.takes = takes
        self.calls = []
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    def infer(self, token_ids):
        rows, length = len(token_ids), len(token_ids[0])
        self.calls.append((rows, length))
        self.now += self.takes(rows, length) / 1000
        return np.zeros((rows, 2), dtype=np.float32)

    def close(self):
        pass


def test_exact_times_give_the_model_they_come_from():
    found = fit(SHAPES, [MINILM.of(*shape) for shape in SHAPES])
    for rows, length in itertools.product((1, 3, 20), (5, 60, 512)):
        assert found.of(rows, length) == pytest.approx(MINILM.of(rows, length), rel=1e-6)
    assert found.error == pytest.approx(0, abs=1e-9)


@given(st.lists(st.floats(0.001, 1e5), min_size=len(SHAPES), max_size=len(SHAPES)))
def test_no_times_make_a_batch_cheaper_by_adding_to_it(times):
    found = fit(SHAPES, times)
    assert found.batch_ms >= LEAST_BATCH_MS
    for rows, length in itertools.product((1, 7, 64), (1, 40, 511)):
        here = found.of(rows, length)
        assert np.isfinite(here)
        assert found.of(rows + 1, length) >= here
        assert found.of(rows, length + 1) >= here


def test_times_that_fall_with_size_are_taken_for_flat():
    found = fit(SHAPES, [10 - 0.01 * rows * length for rows, length in SHAPES])
    assert (found.row_ms, found.token_ms, found.pair_ms) == (0, 0, 0)


def test_times_without_any_order_give_way_to_the_rate_of_the_largest_batch():
    times = [100.0, 1.0, 90.0, 0.5, 120.0, 0.7, 1.0, 200.0, 1.0]
    found = fit(SHAPES, times)
    assert found.error > 0.35
    assert (found.row_ms, found.pair_ms) == (0, 0)
    assert found.token_ms == pytest.approx(1.0 / 512)


def test_the_fastest_of_several_runs_counts(monkeypatch):
    rng = random.Random(1)

    def disturbed(rows, length):
        return MINILM.of(rows, length) * (1 if rng.random() < 0.6 else rng.uniform(1.5, 10))

    found = measure(Clocked(monkeypatch, disturbed), max_length=128, pad_token_id=0)
    assert found.of(16, 32) == pytest.approx(MINILM.of(16, 32), rel=0.2)


def test_shapes_are_those_that_the_model_and_the_engine_can_take(monkeypatch):
    engine = Clocked(monkeypatch, MINILM.of)
    measure(engine, max_length=100, pad_token_id=0)
    assert (1, 100) in engine.calls
    assert max(length for _, length in engine.calls) == 100
    assert max(rows * length for rows, length in engine.calls) <= 512
    assert max(rows for rows, _ in engine.calls) > 1


def test_a_row_longer_than_a_batch_may_be_is_measured_alone(monkeypatch):
    engine = Clocked(monkeypatch, MINILM.of)
    engine.max_batch_tokens = 64
    measure(engine, max_length=128, pad_token_id=0)
    assert (1, 128) in engine.calls


def test_measuring_a_fast_model_ends_with_its_rounds(monkeypatch):
    engine = Clocked(monkeypatch, lambda rows, length: 0.01)
    measure(engine, max_length=128, pad_token_id=0)
    assert engine.now < 0.1


def test_measuring_minilm_takes_well_under_a_second(monkeypatch):
    engine = Clocked(monkeypatch, MINILM.of)
    measure(engine, max_length=128, pad_token_id=0)
    assert engine.now < 0.6


def test_a_slow_model_is_measured_on_its_shortest_shapes_twice(monkeypatch):
    engine = Clocked(monkeypatch, lambda rows, length: 20 + 5 * rows * length)
    found = measure(engine, max_length=512, pad_token_id=0)
    assert engine.now < 4
    assert len(engine.calls) >= 2 * 4
    assert found.of(2, 40) == pytest.approx(20 + 5 * 80, rel=0.05)


def test_the_log_line_has_every_term():
    assert str(MINILM) == (
        "1.10 ms a batch + 0.010 a row + 0.0310 a token + 0.000130 a pair of tokens "
        "(median error 0%)"
    )
