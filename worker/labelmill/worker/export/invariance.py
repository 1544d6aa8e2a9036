"""Whether a text's answer depends on the texts it was scored with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.engines import Engine, batches
from labelmill.worker.export.decisions import ProblemType, decide

#: Texts of a batch put together at random, so that most rows are padded.
_ROWS = 16

_SEED = 0


class Invariance(NamedTuple):
    """Texts scored alone against the same texts in batches of different neighbours."""

    #: Texts whose label, or set of labels, differs.
    flips: int
    #: Largest difference of a logit.
    max_abs_dlogit: float


def batch_invariance(
    engine: Engine,
    token_ids: Sequence[Sequence[int]],
    sorted_logits: NDArray[np.float32],
    problem_type: ProblemType,
    threads: int,
) -> Invariance:
    """Scores each row alone and in shuffled batches, and compares with `sorted_logits` too.

    Args:
        engine: opened with ``threads=1``.
        token_ids: one row a text.
        sorted_logits: what `batches.run` gave for them, (rows, labels).
        problem_type: how logits become labels.
        threads: Python threads that call the engine.
    """
    alone = batches.run(engine, token_ids, threads, max_padded_tokens=1)
    order = np.random.default_rng(_SEED).permutation(len(token_ids)).tolist()
    shuffled_batches = [order[start : start + _ROWS] for start in range(0, len(order), _ROWS)]
    shuffled = batches.run_batches(engine, token_ids, shuffled_batches, threads)

    labels = decide(alone, problem_type)
    flipped = np.zeros(len(token_ids), dtype=bool)
    for together in (sorted_logits, shuffled):
        flipped |= (decide(together, problem_type) != labels).any(axis=1)
    dlogit = max(float(np.abs(together - alone).max()) for together in (sorted_logits, shuffled))
    return Invariance(int(flipped.sum()), dlogit)
