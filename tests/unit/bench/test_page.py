from __future__ import annotations

import copy
import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from labelmill.client.bench.offline import BASELINES, ENGINES
from labelmill.client.bench.page.document import render
from labelmill.errors import InvalidArgumentError

NAMES = (*BASELINES, *ENGINES)


def row(name: str, rate: float, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "texts_per_second": rate,
        "texts_per_second_min": rate * 0.98,
        "texts_per_second_max": rate * 1.01,
        "round_texts_per_second": [rate, rate * 0.98, rate * 1.01],
        "tokens_per_second": rate * 25,
        "p50_ms": 2.5,
        "p99_ms": 4.5,
        "alone_ms": {"p1": 1.5, "p25": 2.0, "p50": 2.5, "p75": 3.0, "p99": 4.5},
        "accuracy": 0.836,
        "label_agreement": 0.993,
        "texts_compared": 1279,
        "batch_flips": 0,
        "peak_share": 0.46 if name.endswith("-int8") else None,
        "texts": 1279,
        "texts_alone": 1279,
        "load_seconds": 0.4,
        "peak_memory_bytes": 154_607_616,
        "file_bytes": 24_190_247,
        **changes,
    }


def run(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "benchmark": "offline",
        "model": "reviews",
        "version": 1,
        "measured_at": "2026-01-02T03:04:05+00:00",
        "seconds": 60.0,
        "host": {
            "cpu": "A CPU",
            "usable_cores": 2,
            "instruction_sets": ["avx2", "avx512_vnni"],
            "memory_bytes": 1 << 35,
            "system": "Linux x86_64",
            "python": "3.11.7",
            "libraries": {"onnxruntime": "1.32.0"},
        },
        "threads": 2,
        "rounds": 3,
        "texts": 1279,
        "source": "the test split of reviews@1",
        "tokens": {"mean": 27.9, "median": 26.0, "max": 76},
        "macs_per_token": 10_616_832,
        "ceiling_macs_per_second": 6.1e11,
        "reference": "hf-pipeline-fp32",
        "contenders": list(rows)
        or [row(name, 192 * (1 + 2 * index)) for index, name in enumerate(NAMES)],
        "skipped": [],
        "command": "labelmill bench offline --model reviews --html page.html",
        **changes,
    }


def parsed(document: dict[str, Any]) -> ET.Element:
    """The page, which is well-formed XML, every drawing in it included."""
    return ET.fromstring(render(document).encode())


def words(root: ET.Element, path: str = "body/main") -> str:
    return " ".join("".join(part.itertext()) for part in root.iterfind(path))


def headline(*rows: dict[str, Any], **changes: Any) -> str:
    return words(parsed(run(*rows, **changes)), ".//h1")


def warnings(*rows: dict[str, Any], **changes: Any) -> str:
    return words(parsed(run(*rows, **changes)), ".//div[@class='warn']")


def plots(root: ET.Element) -> dict[str, list[ET.Element]]:
    """Title → its drawings, for a wide screen and for a phone."""
    return {words(figure, ".//h2"): list(figure.iter("svg")) for figure in root.iter("figure")}


BASE = row("hf-pipeline-fp32", 192, label_agreement=1.0)


def test_every_contender_is_in_the_table_and_in_every_plot_wide_and_narrow() -> None:
    root = parsed(run())
    assert {head.get("scope") for head in root.iter("th")} == {"col", "row"}
    in_table = [words(entry, "th") for entry in root.iterfind(".//tbody/tr")]
    assert sorted(in_table) == sorted(NAMES)
    drawn = plots(root)
    assert len(drawn) == 7
    for title, drawings in drawn.items():
        assert len(drawings) == 2
        for drawing in drawings:
            names = [name for name in NAMES if "multiply" not in title or name.endswith("-int8")]
            shown = ["".join(text.itertext()) for text in drawing.iter("text")]
            assert [name for name in names if name not in shown] == []
            assert drawing.get("aria-label")


def test_bars_begin_at_zero() -> None:
    rows = [row("onnx-int8", 960, round_texts_per_second=[960]), BASE]
    wide = plots(parsed(run(*rows)))["Speed"][0]
    fast, slow = (float(bar.attrib["width"]) for bar in wide.iter("rect"))
    assert fast / slow == pytest.approx(5, rel=0.01)
    assert len(list(wide.iter("circle"))) == 1 + 3


def test_nothing_is_drawn_outside() -> None:
    slow = row("a-contender-whose-name-is-longer-than-any-phone-is-wide-int4", 0.5)
    above = row("onnx-int4", 700, peak_share=1.3)
    for drawings in plots(parsed(run(*run()["contenders"], slow, above))).values():
        for drawing in drawings:
            _, _, width, height = map(float, drawing.attrib["viewBox"].split())
            for shape in drawing.iter():
                for key in ("x", "x1", "x2", "cx"):
                    assert -1 <= float(shape.get(key, 0)) <= width + 1
                assert float(shape.get("x", 0)) + float(shape.get("width", 0)) <= width + 1
                for key in ("y", "y1", "y2", "cy"):
                    assert -1 <= float(shape.get(key, 0)) <= height + 1


def test_the_headline_says_who_is_how_much_faster_at_what_agreement() -> None:
    assert headline(BASE, row("onnx-int8", 953)) == (
        "onnx-int8 is 5.0 times as fast as hf-pipeline-fp32, with the same label for 99.3% of the "
        "texts"
    )
    equal = row("onnx-int8", 2304, label_agreement=1.0)
    assert headline(BASE, equal).endswith("12.0 times as fast as hf-pipeline-fp32, with the same "
                                          "label for every text")  # fmt: skip
    part = row("onnx-int8", 2304, label_agreement=1.0, texts_compared=200)
    assert headline(BASE, part).endswith("for every text compared")


def test_the_headline_is_a_range_where_rounds_differ_widely() -> None:
    restless = row("onnx-int8", 290, round_texts_per_second=[226, 290, 378])
    base = row("hf-pipeline-fp32", 13, round_texts_per_second=[11, 13, 15])
    assert headline(base, restless).startswith("onnx-int8 is 15 to 34 times as fast as")


def test_a_baseline_that_wins_is_said_to_win() -> None:
    rows = [row("onnx-int8", 100), row("ort-dynamic-int8", 150), BASE]
    assert headline(*rows) == "hf-pipeline-fp32 is the fastest of 3"
    assert "1.9× onnx-int8, the fastest of labelmill's own" in words(parsed(run(*rows)))


def test_the_lead_names_the_best_other_way_and_what_guides_do() -> None:
    rows = [BASE, row("ort-dynamic-int8", 359), row("hf-pipeline-bf16", 420)]
    said = words(parsed(run(*rows, row("onnx-int8", 953))), ".//p[@class='lead']")
    assert "2.3× hf-pipeline-bf16, the fastest of the usual ways" in said
    assert "2.7× ort-dynamic-int8" in said
    assert "to 1,270 of 1,279 texts" in said
    assert "no labels that change with the batch" in said


def test_doubts_about_the_run_are_on_the_page() -> None:
    calm = [BASE, row("onnx-int8", 953)]
    assert warnings(*calm) == ""
    close = row("openvino-int8", 960, round_texts_per_second=[940, 960, 970])
    assert "onnx-int8 overlap" in warnings(*calm, close)
    restless = row("torch-bf16", 500, round_texts_per_second=[300, 500, 510])
    assert "torch-bf16 by 42%" in warnings(*calm, restless)
    assert "onnx-int8 by" not in warnings(*calm, restless)
    assert "a single one is 0.62%" in warnings(*calm, texts=162)
    slow = row("torch-fp32", 90, texts=200)
    assert "torch-fp32 was too slow for all texts and scored 200" in warnings(*calm, slow)


def test_rings_mark_labels_that_change_with_the_batch() -> None:
    flipping = row("ort-dynamic-int8", 359, batch_flips=38, label_agreement=0.942)
    drawn = plots(parsed(run(BASE, flipping, row("onnx-int8", 953))))
    wide = drawn["Fast and right"][0]
    assert [circle.get("class") for circle in wide.iter("circle")].count("ring") == 1
    assert "38 of 1,279" in words(drawn["Labels that change with the batch"][0], ".//text")


def test_no_text_of_a_run_becomes_markup() -> None:
    evil = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"
    document = run(
        BASE,
        row(evil, 953),
        model=evil,
        source=evil,
        reference=evil,
        command=evil,
        measured_at=evil,
        skipped=[{"name": evil, "reason": evil}],
    )
    document["host"]["cpu"] = document["host"]["libraries"]["torch"] = evil
    root = parsed(document)
    assert [script.get("id") for script in root.iter("script")] == ["data"]
    assert list(root.iter("img")) == []
    assert words(root).count(evil) > 10


def test_text_that_no_file_can_hold_makes_a_page_too() -> None:
    document = run(BASE, skipped=[{"name": "x\x00\ud800", "reason": "\x1b[31mred"}])
    assert "\ufffd[31mred" in words(parsed(document))


def test_the_page_needs_nothing_else_and_holds_its_run() -> None:
    document = run(padding_waste=0.2)
    html = render(document)
    root = ET.fromstring(html.encode())
    assert json.loads(words(root, ".//script")) == document
    attributes = {key for part in root.iter() for key in part.attrib}
    assert attributes.isdisjoint({"href", "src", "srcset", "data", "onload", "onclick"})
    assert {part.tag for part in root.iter()}.isdisjoint({"link", "img", "iframe", "object", "use"})
    assert re.search(r"https?:|url\(|@import", html) is None
    assert document["command"] in words(root, ".//pre")


def test_what_was_left_out_is_named_with_its_reason() -> None:
    skipped = [{"name": "openvino-int8", "reason": "this release has no such engine"}]
    said = words(parsed(run(BASE, skipped=skipped)), ".//section")
    assert "openvino-int8: this release has no such engine" in said


BARE = {"name": "onnx-int8", "texts_per_second": 4.5}
NOTHING = dict.fromkeys(row("x", 1), None) | BARE | {"round_texts_per_second": [], "alone_ms": {}}


@pytest.mark.parametrize("bare", [BARE, NOTHING])
def test_figures_that_were_not_measured_are_dashes(bare: dict[str, Any]) -> None:
    for rows in ([bare], [BASE, bare]):
        root = parsed(run(*rows, reference=None, ceiling_macs_per_second=None))
        cells = [cell.text for cell in root.iterfind(".//tr[@class='strong']/td")]
        assert cells.count("–") >= 9


def test_a_run_of_an_older_release_makes_a_page() -> None:
    document = copy.deepcopy(run())
    for key in ("measured_at", "seconds", "command"):
        del document[key]
    for contender in document["contenders"]:
        for key in ("round_texts_per_second", "alone_ms", "texts_compared"):
            del contender[key]
    root = parsed(document)
    assert list(root.iter("pre")) == []
    assert len(list(plots(root)["Speed"][0].iter("circle"))) == 2 * len(NAMES)
    assert "to 1,270 of 1,279 texts" in words(root)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "not the JSON of"),
        ({"benchmark": "load"}, "not the JSON of"),
        ({"benchmark": "offline"}, "model: Field required"),
        (run(row("x", -1.0)), "contenders.0.texts_per_second"),
        (run(BASE, texts="many"), "texts: "),
        (run(row("x", float("inf"))), "finite"),
    ],
)
def test_what_is_no_run_is_refused_by_field(document: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(says)):
        render(document)
