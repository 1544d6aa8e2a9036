"""Texts to calibrate and gate on when nobody gave any: texts.txt, written for labelmill (CC0).

The file has passages of eight sentences on as many subjects and in as many tones as would fit;
sentences alone, pieces of passages and passages one after the other make texts of every length.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FILE = Path(__file__).with_name("texts.txt")

#: Sentences that stand together in a text, within a passage.
_PIECES = (1, 2, 4, 8)

#: Passages that stand together in a long text; five fill 512 tokens.
_LONG = (2, 3, 5)

#: Long texts of each kind: they cost most, as those beside them in a batch are padded to them.
_LONG_TEXTS = 2


def texts() -> tuple[list[str], list[str]]:
    """Texts for the ranges of INT8 and texts for the gates; they share no passage."""
    passages = [part.split("\n") for part in _FILE.read_text("utf-8").strip().split("\n\n")]
    return list(_texts(passages[::2])), list(_texts(passages[1::2]))


def _texts(passages: list[list[str]]) -> Iterator[str]:
    for passage in passages:
        for piece in _PIECES:
            for start in range(len(passage) - piece + 1):
                yield " ".join(passage[start : start + piece])
    for many in _LONG:
        for start in range(0, many * _LONG_TEXTS, many):
            yield " ".join(line for passage in passages[start : start + many] for line in passage)
