"""How much of what is computed is padding. Counts tokens; owns no decision."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Padding:
    """Tokens of texts, and of the padded batches they were scored in."""

    tokens: int = 0
    padded_tokens: int = 0

    @classmethod
    def of(cls, batches: Iterable[Sequence[int]]) -> Padding:
        """Of batches, each the lengths of its rows in tokens."""
        tokens = padded_tokens = 0
        for lengths in batches:
            tokens += sum(lengths)
            padded_tokens += len(lengths) * max(lengths)
        return cls(tokens, padded_tokens)

    @property
    def waste(self) -> float:
        """Share of the padded tokens that are padding, 0 to 1."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0


class PaddingCounter:
    """Counts batch after batch. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = self._padded_tokens = 0

    def add(self, lengths: Sequence[int]) -> None:
        """Counts one batch, given the lengths of its rows."""
        batch = Padding.of([lengths])
        with self._lock:
            self._tokens += batch.tokens
            self._padded_tokens += batch.padded_tokens

    def total(self) -> Padding:
        """All batches so far."""
        with self._lock:
            return Padding(self._tokens, self._padded_tokens)
