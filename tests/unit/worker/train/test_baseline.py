from __future__ import annotations

from pathlib import Path

from tiny_bert import make_rows, write_csv

from labelmill.registry.dataset_check import DatasetHeader, inspect_file
from labelmill.worker.train.baseline import train_baseline
from labelmill.worker.train.examples import Examples, read_examples
from labelmill.worker.train.split import split


def read(tmp_path: Path, rows: list[tuple[str, str]]) -> Examples:
    file = write_csv(tmp_path / "data.csv", rows)
    return read_examples(file, inspect_file(file, DatasetHeader.checked("csv"), "id"))


def test_the_baseline_beats_the_majority(tmp_path: Path) -> None:
    examples = read(tmp_path, make_rows(300))
    found = train_baseline(examples, split(examples.label_ids, 2, 0), seed=0)
    assert found.test.accuracy > 0.9
    assert found.test.texts == 46


def test_the_baseline_of_several_labels_a_text(tmp_path: Path) -> None:
    rows = [(text, f"{label}|long" if len(text) > 35 else label) for text, label in make_rows(300)]
    examples = read(tmp_path, rows)
    found = train_baseline(examples, split(examples.label_ids, 3, 0), seed=0)
    good = next(entry for entry in found.test.classes if entry.label == "good")
    assert good.f1 > 0.9


def test_emoji_and_single_characters_are_words(tmp_path: Path) -> None:
    rows = [(f"{'😀' if i % 2 else '😡'} {i}", "yes" if i % 2 else "no") for i in range(100)]
    examples = read(tmp_path, rows)
    found = train_baseline(examples, split(examples.label_ids, 2, 0), seed=0)
    assert found.test.accuracy == 1.0
