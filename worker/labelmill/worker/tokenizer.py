"""Text to token ids with the Rust tokenizer. Owns truncation, so that it can be reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tokenizers


class Tokens(NamedTuple):
    """One tokenized text."""

    #: Ids to score, special tokens included, at most max_length of them.
    ids: list[int]
    #: Tokens of the whole text, special tokens included.
    token_count: int

    @property
    def truncated(self) -> bool:
        """Whether tokens were cut off."""
        return self.token_count > len(self.ids)


class Tokenizer:
    """A version's tokenizer; safe to call from several threads at once.

    Args:
        file: a ``tokenizer.json``.
        max_length: tokens kept a text, special tokens included.
    """

    def __init__(self, file: Path, max_length: int) -> None:
        self.max_length = max_length
        self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        # Files from the hub often have truncation and padding baked in.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenizes `texts`, keeping the special tokens at both ends of a text that is cut."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [self._cut(encoding) for encoding in encodings]

    def _cut(self, encoding: tokenizers.Encoding) -> Tokens:
        ids: list[int] = encoding.ids
        if len(ids) <= self.max_length:
            return Tokens(ids, len(ids))
        special = encoding.special_tokens_mask
        tail = 0
        while tail < len(special) and special[-1 - tail]:
            tail += 1
        kept = ids[: self.max_length - tail] + ids[len(ids) - tail :]
        return Tokens(kept, len(ids))
