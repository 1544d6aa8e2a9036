from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

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
def test_contenders_score_the_versions_own_test_split(demo: Demo, tmp_path: Path) -> None:
    contenders = "onnx-fp32,onnx-int8,ort-fp32"
    page = tmp_path / "page.html"
    options: tuple[object, ...] = ("--data-dir", demo.data_dir, "--model", "reviews")
    options += ("--rounds", 2, "--limit", 60, "--threads", 1, "--contenders", contenders)
    result = bench(*options, "--html", page)
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
        assert len(row["round_texts_per_second"]) == 2
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["alone_ms"]["p50"] == row["p50_ms"]
        assert row["accuracy"] > 0.5
        assert row["label_agreement"] > 0.9
        assert row["batch_flips"] == 0
    assert 0 < rows["onnx-int8"]["peak_share"] < 1
    assert rows["onnx-fp32"]["peak_share"] is None
    assert rows["onnx-int8"]["padding_waste"] < rows["ort-fp32"]["padding_waste"] / 2
    assert rows["onnx-int8"]["file_bytes"] < rows["onnx-fp32"]["file_bytes"] / 2
    assert result["command"].startswith("labelmill bench offline --model reviews --limit 60 ")
    assert f" --html {page} " in result["command"]
    check_page(page, result)


def check_page(page: Path, result: dict[str, Any]) -> None:
    """The page is the one of this run, and can be made again of what --json printed."""
    root = ET.fromstring(page.read_bytes())
    assert json.loads(root.findtext(".//script", "")) == result
    assert len(list(root.iter("figure"))) == 7
    fastest = max(result["contenders"], key=lambda row: float(row["texts_per_second"]))
    assert "".join(root.find(".//h1").itertext()).startswith(fastest["name"])  # type: ignore[union-attr]
    run = page.with_suffix(".json")
    run.write_text(json.dumps(result))
    again = page.with_name("again.html")
    done = cli("bench", "page", run, "-o", again)
    assert done.returncode == 0, done.stderr
    assert again.read_text() == page.read_text()


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
        (("--model", "tiny", "--html", "no/page.html"), "--html: there is no folder no"),
        (("--model", "tiny", "--html", "."), "--html: . is a folder"),
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


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "run: there is no file"),
        ("no JSON", "is not JSON"),
        ('{"benchmark": "offline", "texts": NaN}', "NaN is no number"),
        ('{"benchmark": "latency"}', "bench offline --json"),
        ('{"benchmark": "offline", "model": "m"}', "version: Field required"),
    ],
)
def test_what_is_no_run_makes_no_page(tmp_path: Path, content: str | None, says: str) -> None:
    run = tmp_path / "run.json"
    if content is not None:
        run.write_text(content)
    done = cli("bench", "page", run)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not run.with_suffix(".html").exists()
