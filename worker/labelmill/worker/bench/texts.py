"""The texts of a benchmark run: a file's, or those of the version's own test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from labelmill.errors import LabelmillError
from labelmill.registry import Manifest, Registry
from labelmill.registry.datasets import DatasetStore
from labelmill.registry.text_file import read_text_file
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
    found = read_text_file(path, text_column, label_column, "data")
    return Texts(found.texts, found.labels, path.name)


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
