"""The texts of a benchmark run: a file's, or those of the version's own test split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from labelmill.errors import DatasetError, InvalidArgumentError
from labelmill.registry.dataset_file import guess_format, read_rows

#: File in a version's folder with its test split: one ``{"text", "label"}`` a line.
TEST_FILE = "test.jsonl"


class Texts(NamedTuple):
    """Texts in file order; `labels` is empty when they have none."""

    texts: list[str]
    labels: list[str]
    #: Where they come from, for people.
    source: str


def read_file(path: Path, text_column: str, label_column: str) -> Texts:
    """Reads CSV, JSONL, Parquet, or a text a line; rows without a text are left out.

    Raises:
        InvalidArgumentError: there is no such file, its ending is unknown, or it has no text.
        DatasetError: it is malformed or has no text column.
    """
    if not path.is_file():
        raise InvalidArgumentError.at("data", f"there is no file {path}")
    if path.suffix.lower() == ".txt":
        rows = [(line.strip(), "") for line in _lines(path) if line.strip()]
        labelled = False
    else:
        rows, labelled = _table(path, text_column, label_column)
    if not rows:
        raise InvalidArgumentError.at("data", f"{path} has no text; give a file with some")
    return Texts([row[0] for row in rows], [row[1] for row in rows] if labelled else [], path.name)


def read_test_split(version_folder: Path, name: str) -> Texts | None:
    """The test split of the version `name`; None when the version has none."""
    file = version_folder / TEST_FILE
    if not file.is_file():
        return None
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return Texts(
        [row["text"] for row in rows], [row["label"] for row in rows], f"the test split of {name}"
    )


def limited(texts: Texts, limit: int | None) -> Texts:
    """At most `limit` texts, spread evenly over the file."""
    if limit is None or limit >= len(texts.texts):
        return texts
    chosen = [len(texts.texts) * rank // limit for rank in range(limit)]

    def pick(values: Sequence[str]) -> list[str]:
        return [values[index] for index in chosen] if values else []

    return Texts(pick(texts.texts), pick(texts.labels), texts.source)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError.at(
            "data", f"byte {error.start} of {path} is not UTF-8; save the file as UTF-8"
        ) from error


def _table(path: Path, text_column: str, label_column: str) -> tuple[list[tuple[str, str]], bool]:
    file_format = guess_format(path.name)
    if file_format is None:
        raise InvalidArgumentError.at(
            "data", f"{path.name} ends neither in .csv, .jsonl, .parquet nor .txt; rename it"
        )
    labelled = True
    try:
        rows = list(read_rows(path, file_format, text_column, label_column))
    except DatasetError as error:
        if [violation.field for violation in error.violations] != ["header.label_column"]:
            raise
        labelled = False
        rows = list(read_rows(path, file_format, text_column, text_column))
    return [(row.text, row.label) for row in rows if row.text], labelled
