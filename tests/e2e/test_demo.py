from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import cli

if TYPE_CHECKING:
    from e2e.conftest import Demo


@pytest.mark.timeout(540)
def test_the_tour_ends_well(demo: Demo) -> None:
    assert demo.done.returncode == 0, demo.done.stderr
    result = demo.result
    assert result["test"]["int8"]["accuracy"] > result["baseline"]["accuracy"]
    assert result["gates"]["passed"]
    assert result["gates"]["batch_flips"] == 0
    labels = [answer["label"] for answer in result["classified"]]
    assert len(labels) == 5
    assert labels[-1] == "UNKNOWN"
    assert {"negative", "positive"} <= set(labels)
    assert result["scored"]["texts"] == 5_000
    rates = {row["name"]: row["texts_per_second"] for row in result["bench"]["contenders"]}
    assert set(rates) == {"hf-pipeline-fp32", "ort-dynamic-int8", "onnx-int8"}
    assert rates["onnx-int8"] > rates["hf-pipeline-fp32"]


@pytest.mark.timeout(540)
def test_what_it_tells_people_is_on_stderr(demo: Demo) -> None:
    for part in ("6 of 6", "macro-F1", "int8.label_agreement", "UNKNOWN", "checked: 5,000 rows"):
        assert part in demo.done.stderr


def test_it_empties_no_folder_but_its_own(data_dir: Path) -> None:
    keep = data_dir / "thesis.txt"
    keep.write_text("the only copy")
    done = cli("demo", "--data-dir", data_dir)
    assert done.returncode == 1
    assert "data_dir" in done.stderr
    assert keep.read_text() == "the only copy"
