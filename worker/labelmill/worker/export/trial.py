"""The gate texts, tokenized once, and how an engine is put through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.engines import Engine, batches
from labelmill.worker.export.decisions import ProblemType
from labelmill.worker.export.invariance import Invariance, batch_invariance
from labelmill.worker.export.request import ExportRequest
from labelmill.worker.tokenizer import Tokenizer


@dataclass(frozen=True)
class Trial:
    """Gate texts as token ids, with their right labels where those are known."""

    token_ids: Sequence[Sequence[int]]
    #: Booleans (texts, labels), or None.
    targets: NDArray[np.bool_] | None
    problem_type: ProblemType
    #: Python threads that call an engine.
    threads: int

    @classmethod
    def of(cls, request: ExportRequest, tokenizer: Tokenizer, threads: int) -> Trial:
        """The trial that a request describes."""
        targets = request.gate_targets
        if targets is not None and request.problem_type == "single_label":
            targets = np.arange(len(request.labels)) == targets[:, None]
        known = None if targets is None else targets.astype(bool)
        token_ids = [tokens.ids for tokens in tokenizer.encode(request.gate_texts)]
        return cls(token_ids, known, request.problem_type, threads)

    def run(self, engine: Engine, alone: int) -> tuple[NDArray[np.float32], Invariance]:
        """Logits of all texts, and how `alone` of them, spread over all, keep to themselves."""
        logits = batches.run(engine, self.token_ids, self.threads)
        chosen = np.linspace(0, len(logits) - 1, min(alone, len(logits))).round().astype(int)
        invariance = batch_invariance(
            engine,
            [self.token_ids[index] for index in chosen],
            logits[chosen],
            self.problem_type,
            self.threads,
        )
        return logits, invariance
