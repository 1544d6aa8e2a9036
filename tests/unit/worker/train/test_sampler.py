from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labelmill.worker.train.sampler import LengthGroupedSampler

lengths_of_texts = st.lists(st.integers(1, 128), min_size=1, max_size=400)


@given(lengths_of_texts, st.integers(1, 32), st.integers(0, 5))
def test_every_text_comes_once_an_epoch(lengths: list[int], batch_size: int, epoch: int) -> None:
    sampler = LengthGroupedSampler(lengths, batch_size, seed=0)
    sampler.set_epoch(epoch)
    assert sorted(sampler) == list(range(len(lengths)))
    assert len(sampler) == len(lengths)


def test_batches_hold_like_lengths_and_waste_little() -> None:
    lengths = np.random.default_rng(0).integers(5, 120, 2000)
    order = np.array(list(LengthGroupedSampler(lengths.tolist(), 16, seed=0))).reshape(-1, 16)
    padded = lengths[order].max(axis=1).sum() * 16
    assert padded < 1.1 * lengths.sum()


def test_long_batches_do_not_come_first() -> None:
    lengths = np.random.default_rng(0).integers(5, 120, 2000)
    order = np.array(list(LengthGroupedSampler(lengths.tolist(), 16, seed=0))).reshape(-1, 16)
    steps = np.arange(len(order))
    assert abs(np.corrcoef(steps, lengths[order].mean(axis=1))[0, 1]) < 0.2


def test_the_order_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = LengthGroupedSampler([1, 2, 3, 4] * 50, 8, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)
