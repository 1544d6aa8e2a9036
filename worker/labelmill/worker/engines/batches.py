"""Which rows to score together. Owns cutting by padded tokens, not the choice of the budget."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.engines.base import CPU_BATCH_TOKENS, Engine


def plan(lengths: Sequence[int], max_padded_tokens: int = CPU_BATCH_TOKENS) -> list[list[int]]:
    """Cuts rows into batches of similar length.

    Args:
        lengths: tokens of each row.
        max_padded_tokens: rows times the longest row that a batch may have; a single row longer
            than this is a batch of its own.

    Returns:
        Indices into `lengths`, every one exactly once, the batch of the longest rows first, so
        that threads which share the batches finish together.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    start = 0
    while start < len(order):
        rows = max(1, max_padded_tokens // max(1, lengths[order[start]]))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def run(
    engine: Engine,
    token_ids: Sequence[Sequence[int]],
    threads: int = 1,
    max_padded_tokens: int = CPU_BATCH_TOKENS,
) -> NDArray[np.float32]:
    """Scores all rows, in batches of `plan` shared by `threads` threads.

    Args:
        engine: opened for as many threads as are asked for here.
        token_ids: one row a text, at least one, special tokens included.
        threads: Python threads that call the engine.
        max_padded_tokens: see `plan`.

    Returns:
        float32 logits of shape (rows, labels), in the order of `token_ids`.
    """
    batches = plan([len(row) for row in token_ids], max_padded_tokens)
    return run_batches(engine, token_ids, batches, threads)


def run_batches(
    engine: Engine,
    token_ids: Sequence[Sequence[int]],
    batches: Sequence[Sequence[int]],
    threads: int = 1,
) -> NDArray[np.float32]:
    """Scores all rows in the given batches, which name every row exactly once; see `run`."""

    def infer(batch: Sequence[int]) -> NDArray[np.float32]:
        return engine.infer([token_ids[index] for index in batch])

    if threads == 1:
        parts = [infer(batch) for batch in batches]
    else:
        with ThreadPoolExecutor(threads, thread_name_prefix="infer") as pool:
            parts = list(pool.map(infer, batches))
    logits = np.empty((len(token_ids), parts[0].shape[1]), dtype=np.float32)
    for batch, part in zip(batches, parts, strict=True):
        logits[list(batch)] = part
    return logits
