from __future__ import annotations

import heapq

from hypothesis import given
from hypothesis import strategies as st

from labelmill.worker.engines.batches import plan
from labelmill.worker.engines.cost import CostModel
from labelmill.worker.engines.cut import Limits, cut

MINILM = CostModel(batch_ms=1.1, row_ms=0.0, token_ms=0.031, pair_ms=0.00013)
LIMITS = Limits(tokens=512, ms=25.0)

costs = st.builds(
    CostModel,
    batch_ms=st.floats(0.1, 30),
    row_ms=st.floats(0, 1) | st.just(0.0),
    token_ms=st.floats(0, 0.5) | st.just(0.0),
    pair_ms=st.floats(0, 0.001) | st.just(0.0),
)
limits = st.builds(Limits, tokens=st.integers(1, 2048), ms=st.floats(1, 100))
#: Few different lengths now and then: runs of equal ones are where batches may begin anywhere.
lengths = st.lists(st.integers(1, 600), min_size=1, max_size=120) | st.lists(
    st.sampled_from([3, 9, 10, 64, 128]), min_size=1, max_size=300
)


def predicted(batches, lengths, cost):
    return [cost.of(len(rows), max(lengths[row] for row in rows)) for rows in batches]


def least_by_trying_everything(lengths, cost, limits):
    ordered = sorted(lengths, reverse=True)
    least = [0.0] * (len(ordered) + 1)
    for start in reversed(range(len(ordered))):
        most = limits.rows(cost, ordered[start])
        least[start] = min(
            cost.of(rows, ordered[start]) + least[start + rows]
            for rows in range(1, min(most, len(ordered) - start) + 1)
        )
    return least[0]


def makespan(milliseconds, threads):
    ends = [0.0] * threads
    for ms in milliseconds:
        heapq.heapreplace(ends, ends[0] + ms)
    return max(ends)


@given(lengths, costs, limits, st.integers(1, 20))
def test_every_row_is_in_one_batch_within_the_limits(lengths, cost, limits, threads):
    batches = cut(lengths, cost, limits, threads)

    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows, ms in zip(batches, predicted(batches, lengths, cost), strict=True):
        longest = max(lengths[row] for row in rows)
        assert lengths[rows[0]] == longest
        assert len(rows) == 1 or len(rows) * longest <= limits.tokens
        assert len(rows) == 1 or ms <= max(limits.ms, 2 * cost.batch_ms) * (1 + 1e-9)


@given(lengths, costs, limits)
def test_no_other_cut_of_the_sorted_rows_takes_less(lengths, cost, limits):
    total = sum(predicted(cut(lengths, cost, limits), lengths, cost))

    best = least_by_trying_everything(lengths, cost, limits)
    assert abs(total - best) <= 1e-6 * best


@given(lengths, costs)
def test_a_fixed_budget_is_never_predicted_to_be_faster(lengths, cost):
    limits = Limits(tokens=512, ms=float("inf"))
    total = sum(predicted(cut(lengths, cost, limits), lengths, cost))

    fixed = sum(predicted(plan(lengths, 512), lengths, cost))
    assert total <= fixed * (1 + 1e-9)


@given(lengths, costs, limits, st.integers(2, 20))
def test_threads_never_end_later_for_being_considered(lengths, cost, limits, threads):
    unshared = predicted(cut(lengths, cost, limits), lengths, cost)
    shared = predicted(cut(lengths, cost, limits, threads), lengths, cost)

    assert shared == sorted(shared, reverse=True)
    assert makespan(shared, threads) <= makespan(unshared, threads) * (1 + 1e-9)


def test_threads_end_together():
    batches = cut([32] * 16, MINILM, LIMITS, threads=2)
    assert [len(rows) for rows in batches] == [8, 8]


def test_lengths_that_differ_by_more_than_a_batch_costs_are_not_padded():
    assert cut([100, 10, 101, 11], MINILM, LIMITS) == [[2, 0], [3, 1]]


def test_where_a_batch_costs_much_lengths_go_together():
    dear = CostModel(batch_ms=12.0, row_ms=0.0, token_ms=0.031, pair_ms=0.0)
    assert cut([100, 10, 101, 11], dear, LIMITS) == [[2, 0, 3, 1]]


def test_a_row_that_takes_too_long_is_alone():
    assert sorted(cut([2000, 2000], MINILM, LIMITS)) == [[0], [1]]


def test_an_engine_that_is_slow_to_start_still_gets_batches():
    slow = CostModel(batch_ms=40.0, row_ms=0.0, token_ms=0.01, pair_ms=0.0)
    assert len(cut([10] * 30, slow, LIMITS)) == 1


def test_many_rows_of_one_length():
    batches = cut([64] * 10_001, MINILM, LIMITS)
    assert [len(rows) for rows in batches] == [8] * 1250 + [1]
