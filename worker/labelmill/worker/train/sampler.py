"""The order of training texts: batches of like lengths, in random order.

Unlike the Trainer's own sampler the order follows from seed and epoch alone, so that a run resumed
in the middle of an epoch sees each text once; and long batches do not all come before short ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

#: Batches that are filled from one pool of sorted texts, at most.
_MOST_BATCHES_A_POOL = 50

#: Pools an epoch, at least: with one, the same texts would meet in every epoch.
_LEAST_POOLS = 4


class LengthGroupedSampler(Sampler[int]):
    """Positions of all texts, such that each run of `batch_size` has like lengths.

    Args:
        lengths: of the texts, in tokens.
        batch_size: texts an optimizer step.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self._seed, self._epoch])
        order = rng.permutation(len(self._lengths))
        batches_in_all = len(order) // self._batch_size
        batches_a_pool = min(max(1, batches_in_all // _LEAST_POOLS), _MOST_BATCHES_A_POOL)
        pool = batches_a_pool * self._batch_size
        sorted_pools = [
            part[np.argsort(self._lengths[part], kind="stable")]
            for part in np.split(order, range(pool, len(order), pool))
        ]
        grouped = np.concatenate(sorted_pools)
        # What does not fill a batch comes last, or all batches after it would shift.
        cut = batches_in_all * self._batch_size
        batches = grouped[:cut].reshape(batches_in_all, self._batch_size)
        yield from rng.permutation(batches).ravel().tolist()
        yield from grouped[cut:].tolist()
