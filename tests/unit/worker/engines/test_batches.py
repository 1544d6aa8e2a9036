from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labelmill.worker.engines import batches


class Summing:
    """Logits that tell whose they are: the row's sum and its length."""

    name = "summing"

    def infer(self, token_ids):
        return np.array([[sum(row), len(row)] for row in token_ids], dtype=np.float32)

    def close(self):
        pass


@given(st.lists(st.integers(1, 600), max_size=200), st.integers(1, 1024))
def test_every_row_is_in_one_batch_within_the_budget(lengths, budget):
    plan = batches.plan(lengths, budget)

    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    for batch in plan:
        padded = len(batch) * max(lengths[index] for index in batch)
        assert padded <= budget or len(batch) == 1


def test_rows_of_like_length_go_together():
    assert batches.plan([2, 30, 2, 30], 60) == [[1, 3], [0, 2]]


@given(
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=40), min_size=1, max_size=60),
    st.integers(1, 4),
)
def test_logits_come_in_input_order(rows, threads):
    logits = batches.run(Summing(), rows, threads=threads, max_padded_tokens=64)

    assert logits.tolist() == [[sum(row), len(row)] for row in rows]
