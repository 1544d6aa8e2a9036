"""Chooses a version's golden texts and writes golden.json. `engines.golden` reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Texts that every worker re-runs when it loads the version.
GOLDEN_TEXTS = 64


def choose(logits: NDArray[np.float32], lengths: Sequence[int]) -> list[int]:
    """Indices of at most `GOLDEN_TEXTS` texts, spread over the labels and, within them, lengths.

    Args:
        logits: fp32 logits, (texts, labels).
        lengths: tokens of each text.
    """
    order = np.lexsort((np.asarray(lengths), logits.argmax(axis=1)))
    spread = np.linspace(0, len(order) - 1, min(GOLDEN_TEXTS, len(order)))
    return [int(order[round(position)]) for position in spread]


def write(
    file: Path,
    texts: Sequence[str],
    token_ids: Sequence[Sequence[int]],
    fp32_logits: NDArray[np.float32],
    int8_logits: NDArray[np.float32] | None,
) -> None:
    """Writes the chosen texts with their token ids and recorded logits, (texts, labels)."""
    chosen = choose(fp32_logits, [len(row) for row in token_ids])
    content = {
        "texts": [texts[index] for index in chosen],
        "token_ids": [list(token_ids[index]) for index in chosen],
        "fp32_logits": fp32_logits[chosen].tolist(),
        "int8_logits": None if int8_logits is None else int8_logits[chosen].tolist(),
    }
    file.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
