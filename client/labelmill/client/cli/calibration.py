"""The calibration file of `labelmill models import`: texts, and labels where it has them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from labelmill.client.cli import output
from labelmill.errors import InvalidArgumentError

#: What errors call the file.
FIELD = "--calibration"

#: Texts sent, at most, and their bytes together with their labels: what the server takes.
MAX_TEXTS, MAX_BYTES = 5_000, 8 << 20

#: `--label-column` that leaves labels out.
NO_LABELS = "none"

_USUAL_LABEL_COLUMN = "label"


class Calibration(NamedTuple):
    """Texts to send; `labels` is empty, or has one entry each."""

    texts: list[str]
    labels: list[str]


def read_calibration(path: Path | None, text_column: str, label_column: str | None) -> Calibration:
    """Reads the file and says what is in it; a large one is sampled evenly.

    Args:
        path: CSV, JSONL, Parquet or a text a line; None for no file.
        text_column: column with the text.
        label_column: column with the label, ``none`` to leave labels out, or None to take the
            column ``label`` where there is one.

    Raises:
        InvalidArgumentError: it cannot be read, or lacks a column that was named.
    """
    if path is None:
        return Calibration([], [])
    # Loads pydantic and, for Parquet, pyarrow, which other commands need not wait for.
    from labelmill.registry.text_file import read_text_file

    wanted = label_column not in (None, NO_LABELS)
    found = read_text_file(path, text_column, label_column or _USUAL_LABEL_COLUMN, FIELD)
    if wanted and not found.labels:
        raise InvalidArgumentError.at("--label-column", f"{path} has no column {label_column!r}")
    labels = [] if label_column == NO_LABELS else found.labels
    chosen = _sample(found.texts, labels)
    sent = (
        f"{len(chosen.texts):,} of {len(found.texts):,}"
        if chosen.texts != found.texts
        else (f"{len(chosen.texts):,}")
    )
    output.note(f"{path.name}: {sent} texts, {'with their' if labels else 'without'} labels")
    return chosen


def _sample(texts: list[str], labels: list[str]) -> Calibration:
    size = sum(len(text.encode()) for text in (*texts, *labels))
    # Half of what would fit on average, as texts differ in length.
    fit = len(texts) if size <= MAX_BYTES else len(texts) * MAX_BYTES // (2 * size)
    count = max(1, min(MAX_TEXTS, fit))
    if count >= len(texts):
        return Calibration(texts, labels)
    rows = [at * len(texts) // count for at in range(count)]
    return Calibration([texts[row] for row in rows], [labels[row] for row in rows if labels])
