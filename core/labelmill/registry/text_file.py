"""A file of texts, with labels or without: CSV, JSONL, Parquet, or a text a line.

Owns neither what the texts are for nor which labels are right.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from labelmill.errors import DatasetError, InvalidArgumentError
from labelmill.registry.dataset_file import FORMATS, guess_format, read_rows

#: Field that errors about a missing column of labels name.
_LABEL_COLUMN = "header.label_column"


class TextFile(NamedTuple):
    """Texts in file order; `labels` is empty when the file has none."""

    texts: list[str]
    labels: list[str]


def read_text_file(path: Path, text_column: str, label_column: str, field: str) -> TextFile:
    """Reads `path`; rows without a text are left out, a missing column of labels is no error.

    Args:
        path: the file; its ending says what it is.
        text_column: column with the text.
        label_column: column with the label.
        field: what errors call the file.

    Raises:
        InvalidArgumentError: there is no such file, its ending is unknown, or it has no text; names
            `field`.
        DatasetError: it is malformed or has no column of texts.
    """
    if path.is_dir():
        raise InvalidArgumentError.at(field, f"{path} is a directory; give a file of texts")
    if not path.is_file():
        raise InvalidArgumentError.at(field, f"there is no file {path}")
    if path.suffix.lower() == ".txt":
        rows = [(line.strip(), "") for line in _lines(path, field)]
        labelled = False
    else:
        rows, labelled = _table(path, text_column, label_column, field)
    rows = [row for row in rows if row[0]]
    if not rows:
        raise InvalidArgumentError.at(field, f"{path} has no text; give a file with some")
    return TextFile([row[0] for row in rows], [row[1] for row in rows] if labelled else [])


def _lines(path: Path, field: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError.at(
            field, f"byte {error.start} of {path} is not UTF-8; save the file as UTF-8"
        ) from error


def _table(
    path: Path, text_column: str, label_column: str, field: str
) -> tuple[list[tuple[str, str]], bool]:
    file_format = guess_format(path.name)
    if file_format is None:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise InvalidArgumentError.at(
            field, f"{path.name} ends neither in {endings} nor .txt; rename it"
        )
    labelled = True
    try:
        rows = list(read_rows(path, file_format, text_column, label_column))
    except DatasetError as error:
        if [violation.field for violation in error.violations] != [_LABEL_COLUMN]:
            raise
        labelled = False
        rows = list(read_rows(path, file_format, text_column, text_column))
    return [(row.text, row.label) for row in rows], labelled
