from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiny
from commands import cli
from conftest import ROOT

from labelmill.registry import Registry

if TYPE_CHECKING:
    from e2e.conftest import Demo

#: What others read; fields may be added, never renamed.
KEYS = {"host", "threads", "texts", "contenders"}
ROW_KEYS = {
    "name",
    "texts_per_second",
    "p50_ms",
    "p99_ms",
    "accuracy",
    "label_agreement",
    "batch_flips",
    "peak_share",
    "padding_waste",
}


def bench(*options: object) -> dict[str, Any]:
    done = cli("bench", "offline", "--json", *options)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.timeout(540)
def test_contenders_score_the_versions_own_test_split(demo: Demo) -> None:
    contenders = "onnx-fp32,onnx-int8,ort-fp32"
    options = ("--data-dir", demo.data_dir, "--model", "reviews", "--rounds", 2)
    result = bench(*options, "--limit", 60, "--threads", 1, "--contenders", contenders)
    assert result.keys() >= KEYS
    assert (result["threads"], result["texts"], result["rounds"]) == (1, 60, 2)
    assert result["source"] == "the test split of reviews@1"
    assert result["reference"] == "onnx-fp32"
    assert result["host"]["libraries"]["onnxruntime"]
    rows = {row["name"]: row for row in result["contenders"]}
    assert list(rows) == contenders.split(",")
    for row in rows.values():
        assert row.keys() >= ROW_KEYS
        assert 0 < row["texts_per_second_min"] <= row["texts_per_second"]
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["accuracy"] > 0.5
        assert row["label_agreement"] > 0.9
        assert row["batch_flips"] == 0
    assert 0 < rows["onnx-int8"]["peak_share"] < 1
    assert rows["onnx-fp32"]["peak_share"] is None
    assert rows["onnx-int8"]["padding_waste"] < rows["ort-fp32"]["padding_waste"] / 2
    assert rows["onnx-int8"]["file_bytes"] < rows["onnx-fp32"]["file_bytes"] / 2


@pytest.mark.timeout(540)
def test_any_file_of_texts_will_do_and_people_get_a_table(demo: Demo, tmp_path: Path) -> None:
    data = tmp_path / "texts.txt"
    data.write_text("Good.\nBad.\nIt opens at ten.\n")
    done = cli(
        *("bench", "offline", "--data-dir", demo.data_dir, "--model", "reviews@1"),
        *("--data", data, "--rounds", 1, "--contenders", "onnx-int8"),
    )
    assert done.returncode == 0, done.stderr
    assert "onnx-int8" in done.stdout
    assert "3 texts" in done.stdout
    assert "–" in done.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "none"), "no model 'none'; models here: tiny"),
        (("--model", "tiny@9"), "no version 9"),
        (("--model", "tiny@blue"), "alias 'blue'"),
        (("--model", "Tiny"), "'Tiny' is no model name"),
        (("--model", "tiny", "--contenders", "vllm"), "contenders: 'vllm'"),
        (("--model", "tiny", "--data", "nowhere.csv"), "no file nowhere.csv"),
        (("--model", "tiny", "--contenders", "onnx-int8"), "has only onnx-fp32"),
        (("--model", "tiny", "--threads", "0"), "--threads"),
    ],
)
def test_what_cannot_be_measured_is_said(
    data_dir: Path, options: tuple[str, ...], says: str
) -> None:
    tiny.publish(Registry(data_dir / "registry"))
    done = cli("bench", "offline", "--data-dir", data_dir, *options)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_an_altered_file_is_not_measured(data_dir: Path) -> None:
    registry = Registry(data_dir / "registry")
    tiny.publish(registry)
    file = registry.path("tiny", 1) / "tokenizer.json"
    file.write_bytes(file.read_bytes().replace(b"dull", b"full"))
    data = ROOT / "examples" / "reviews.csv"
    done = cli("bench", "offline", "--data-dir", data_dir, "--model", "tiny", "--data", data)
    assert done.returncode == 1
    assert "tokenizer.json" in done.stderr
