"""Units of work inside a worker: a request or a chunk, cut into batches. No I/O here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.models import LoadedModel
from labelmill.worker.tokenizer import Tokens


@dataclass(eq=False)
class Work:
    """Texts that are answered together, of one model.

    Batches of it may run on several threads; whoever finishes the last one gets True from `fill`.
    """

    model: LoadedModel
    tokens: Sequence[Tokens]
    #: Called once, from a compute thread: with None when all logits are there, or the error.
    done: Callable[[Work, Exception | None], None]
    #: Whether anybody still wants the answer; asked before compute is spent on late work.
    wanted: Callable[[], bool]
    tokenize_ms: float = 0.0
    inference_ms: float = 0.0
    batch_size: int = 0
    cancelled: bool = False
    taken_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.logits: NDArray[np.float32] = np.zeros(
            (len(self.tokens), len(self.model.manifest.labels)), dtype=np.float32
        )
        self._left = len(self.tokens)
        self._ended = False
        self._lock = threading.Lock()

    def fill(
        self, rows: Sequence[int], logits: NDArray[np.float32], ms: float, batch_size: int
    ) -> bool:
        """Takes in logits of `rows`; True when they were the last ones."""
        with self._lock:
            self.logits[list(rows)] = logits
            self.inference_ms += ms
            self.batch_size = max(self.batch_size, batch_size)
            self._left -= len(rows)
            return self._left == 0 and self._end()

    def drop(self) -> bool:
        """Gives up; True for the first caller, who must then call `done`."""
        with self._lock:
            self.cancelled = True
            return self._end()

    def _end(self) -> bool:
        first = not self._ended
        self._ended = True
        return first


@dataclass(frozen=True)
class Part:
    """Rows of one work that run in one batch."""

    work: Work
    rows: list[int]


@dataclass(frozen=True)
class Batch:
    """What one engine call scores: parts of works of the same model."""

    model: LoadedModel
    parts: list[Part]

    def token_ids(self) -> list[list[int]]:
        """Ids of every row, part after part."""
        return [part.work.tokens[row].ids for part in self.parts for row in part.rows]
