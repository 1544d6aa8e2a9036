from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bert import write_csv

from labelmill.errors import DatasetError
from labelmill.registry.dataset_check import DatasetHeader, inspect_file
from labelmill.worker.train.examples import Examples, read_examples

PLAIN = [(f"text {i}", "yes" if i % 2 else "no") for i in range(80)]


def read(tmp_path: Path, rows: list[tuple[str, str]]) -> Examples:
    file = write_csv(tmp_path / "data.csv", rows)
    return read_examples(file, inspect_file(file, DatasetHeader.checked("csv"), "id"))


def test_labels_are_sorted_and_targets_follow_them(tmp_path: Path) -> None:
    examples = read(tmp_path, PLAIN)
    assert examples.labels == ["no", "yes"]
    targets = examples.targets([0, 1, 2])
    assert targets.dtype == np.int64
    assert targets.tolist() == [0, 1, 0]
    assert examples.warnings == []


def test_repeated_texts_count_once_and_are_told(tmp_path: Path) -> None:
    examples = read(tmp_path, [*PLAIN, *PLAIN[:5]])
    assert (len(examples), examples.duplicates) == (80, 5)
    assert any("5 rows repeat a text" in warning for warning in examples.warnings)


def test_the_majority_settles_a_conflict_and_a_draw_drops_the_text(tmp_path: Path) -> None:
    settled = [("odd", "yes"), ("odd", "no"), ("odd", "yes")]
    drawn = [("even", "yes"), ("even", "no")]
    examples = read(tmp_path, [*PLAIN, *settled, *drawn])
    assert "even" not in examples.texts
    assert examples.label_ids[examples.texts.index("odd")] == (1,)
    assert examples.conflicts == 2
    (warning,) = [w for w in examples.warnings if "different labels" in w]
    assert "'odd'" in warning
    assert "1 with a draw" in warning


def test_a_label_that_repetition_made_look_larger_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"too few distinct texts of 'rare' \(1\)"):
        read(tmp_path, [*PLAIN, *[("same", "rare")] * 5])


def test_several_labels_a_text(tmp_path: Path) -> None:
    rows = [(f"t{i}", "a|b" if i % 2 else "b | a | c") for i in range(40)]
    examples = read(tmp_path, rows)
    assert examples.multi_label
    targets = examples.targets([0, 1])
    assert targets.dtype == np.bool_
    assert targets.tolist() == [[True, True, True], [True, True, False]]


def test_labels_with_few_texts_are_told(tmp_path: Path) -> None:
    examples = read(tmp_path, [*PLAIN, *[(f"r{i}", "rare") for i in range(4)]])
    assert any("'rare' (4)" in warning for warning in examples.warnings)
