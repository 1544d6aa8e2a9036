"""The texts of a benchmark run: a file's, or those of the version's own test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from labelmill.errors import DatasetError, InvalidArgumentError, LabelmillError
from labelmill.registry import Manifest, Registry
from labelmill.registry.dataset_file import guess_format, read_rows
from labelmill.registry.datasets import DatasetStore
from labelmill.worker.train.examples import read_examples
from labelmill.worker.train.split import split


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


def read_test_split(registry: Registry, manifest: Manifest) -> Texts | None:
    """The test split that the version was evaluated on, made again from its data set and seed.

    None when the version was not trained here, or its data set is gone.
    """
    store = DatasetStore(registry.root)
    try:
        dataset, seed = manifest.training["dataset_id"], manifest.training["config"]["seed"]
        meta = store.get(dataset)
        examples = read_examples(store.path(dataset), meta)
    except (KeyError, LabelmillError):
        return None
    test = split(examples.label_ids, len(examples.labels), seed).test
    return Texts(
        examples.texts_of(test),
        ["|".join(examples.labels[label] for label in examples.label_ids[row]) for row in test],
        f"the test split of {manifest.model}@{manifest.version}",
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
