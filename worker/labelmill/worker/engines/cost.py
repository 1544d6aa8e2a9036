"""What a batch costs: milliseconds by rows and length, measured for one engine on this machine.

Owns the model and its measurement, which happens at every load and is kept nowhere. What follows
from it is cut by `engines.cut`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.engines.base import Engine

#: Least milliseconds a batch costs apart from its rows: what scheduling, padding and scattering
#: the logits take outside of the engine. Keeps texts of almost equal length together.
LEAST_BATCH_MS = 0.1

#: Rows and tokens a row that are measured; shapes that the model or the engine cannot take are
#: left out, and the longest row it can take is added.
_ROWS = (1, 4, 16, 64)
_LENGTHS = (8, 32, 128, 512)

#: Seconds for the whole measurement; the first round, which warms up, may take longer. Shapes too
#: long for this machine are then left out, but never the shortest few.
_BUDGET_S = 0.5
_LEAST_SHAPES = 4

#: Rounds over all shapes. What else runs on the machine makes a call slower, never faster: the
#: fastest of each shape counts.
_ROUNDS = 6

#: sched-stats.rst: time on a core, time waiting for one, both in ns, and turns.
_SCHEDSTAT = Path("/proc/thread-self/schedstat")

#: Median relative error of the measured shapes above which the fit is not believed.
_WORST_ERROR = 0.35


@dataclass(frozen=True)
class CostModel:
    """Predicted milliseconds of an engine call. No coefficient is negative.

    Linear in rows for a given length: `engines.cut` relies on it.
    """

    #: Of every batch, whatever is in it.
    batch_ms: float
    #: Of every row.
    row_ms: float
    #: Of every token, padding included.
    token_ms: float
    #: Of every pair of tokens of a row: attention.
    pair_ms: float
    #: Median relative error on the measured shapes.
    error: float = 0.0

    def of_row(self, length: int) -> float:
        """Milliseconds that a row padded to `length` tokens adds to a batch."""
        return self.row_ms + length * (self.token_ms + length * self.pair_ms)

    def of(self, rows: int, length: int) -> float:
        """Milliseconds of `rows` rows padded to `length` tokens."""
        return self.batch_ms + rows * self.of_row(length)

    def __str__(self) -> str:
        return (
            f"{self.batch_ms:.2f} ms a batch + {self.row_ms:.3f} a row + {self.token_ms:.4f} a "
            f"token + {self.pair_ms:.6f} a pair of tokens (median error {self.error:.0%})"
        )


def measure(engine: Engine, max_length: int, pad_token_id: int) -> CostModel:
    """Times `engine` on a few shapes and fits a cost model.

    Takes about half a second, longer for models of which a few rows take that long. One thread
    measures: siblings on other cores, tried, shift all shapes alike.

    Args:
        engine: opened; shapes of at most its max_batch_tokens are tried.
        max_length: most tokens of a row.
        pad_token_id: what rows are made of; the time does not depend on it.
    """
    shapes = _shapes(max_length, engine.max_batch_tokens)
    fastest = np.full(len(shapes), np.inf)
    ends = time.perf_counter() + _BUDGET_S
    for number in range(_ROUNDS):
        for index, (rows, length) in enumerate(shapes):
            late = time.perf_counter() > ends
            # Later rounds repeat what the first one had time for, once at least.
            if late and number > 1:
                break
            if late and number == 0 and index >= _LEAST_SHAPES:
                shapes = shapes[:index]
                break
            took = _timed_ms(engine, [[pad_token_id] * length] * rows)
            fastest[index] = min(fastest[index], took)
    return fit(shapes, fastest[: len(shapes)].tolist())


def _timed_ms(engine: Engine, batch: list[list[int]]) -> float:
    """Milliseconds of one call, without those that this thread waited for a core.

    A model is often loaded while others compute: long calls are interrupted then, short ones are
    not, and the fastest of several could not tell. An engine that computes in threads of its own
    lets this one sleep: what it waits then is no time that they lost.
    """
    started = time.perf_counter()
    computed_s = time.thread_time()
    # Within the clock: an interruption between the two readings must not make the call shorter.
    waited_ns = _waited_ns()
    engine.infer(batch)
    waited_s = (_waited_ns() - waited_ns) / 1e9
    computed_s = time.thread_time() - computed_s
    took_s = time.perf_counter() - started
    computes_here = computed_s >= (took_s - waited_s) / 2
    return (took_s - waited_s if computes_here else took_s) * 1000


def _waited_ns() -> int:
    """Nanoseconds this thread has waited for a core, where the kernel counts them."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _shapes(max_length: int, max_tokens: int) -> list[tuple[int, int]]:
    """Rows and lengths to measure, fewest padded tokens first."""
    lengths = {length for length in _LENGTHS if length < max_length} | {max_length}
    shapes = [
        (rows, length)
        for rows, length in itertools.product(_ROWS, lengths)
        if rows == 1 or rows * length <= max_tokens
    ]
    return sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape))


def fit(shapes: Sequence[tuple[int, int]], times_ms: Sequence[float]) -> CostModel:
    """The cost model that is closest to measured times, by squared relative error.

    Args:
        shapes: rows and length of each measured batch.
        times_ms: milliseconds of each, above 0.

    Returns:
        The fit; where it misses half of the shapes by far, times proportional to the padded
        tokens at the rate of the largest shape.
    """
    rows, lengths = np.array(shapes, dtype=float).T
    measured = np.asarray(times_ms)
    terms = np.stack([np.ones_like(rows), rows, rows * lengths, rows * lengths**2], axis=1)
    coefficients = _least_squares(terms / measured[:, None])
    error = float(np.median(np.abs(terms @ coefficients / measured - 1)))
    if not error <= _WORST_ERROR:
        largest = int(np.argmax(rows * lengths))
        rate = float(measured[largest] / (rows[largest] * lengths[largest]))
        return CostModel(LEAST_BATCH_MS, 0.0, rate, 0.0, error)
    batch_ms, row_ms, token_ms, pair_ms = coefficients.tolist()
    return CostModel(max(batch_ms, LEAST_BATCH_MS), row_ms, token_ms, pair_ms, error)


def _least_squares(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients, none negative, that bring the sum of each row of `terms` closest to 1.

    With so few terms, every choice of those that are not 0 can be tried.
    """
    count = terms.shape[1]
    best, least = np.zeros(count), np.inf
    for used in itertools.chain.from_iterable(
        itertools.combinations(range(count), size) for size in range(1, count + 1)
    ):
        part = terms[:, used]
        solution = np.linalg.lstsq(part, np.ones(len(terms)), rcond=None)[0]
        missed = float(np.square(part @ solution - 1).sum())
        if (solution >= 0).all() and missed < least:
            best, least = np.zeros(count), missed
            best[list(used)] = solution
    return best
