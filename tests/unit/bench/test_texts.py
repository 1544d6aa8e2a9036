from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from labelmill.errors import LabelmillError
from labelmill.registry import Manifest, Registry
from labelmill.registry.dataset_check import DatasetHeader
from labelmill.registry.datasets import DatasetStore
from labelmill.worker.bench.texts import Texts, limited, read_file, read_test_split
from labelmill.worker.train.split import split


def write(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_labels_are_read_where_there_are_any(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"review,stars\ngood,5\n,4\nbad,1\n")
    assert read_file(path, "review", "stars") == Texts(["good", "bad"], ["5", "1"], "a.csv")
    assert read_file(path, "review", "label").labels == []


def test_a_text_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "one\n\n zwölf \n".encode())
    assert read_file(path, "text", "label").texts == ["one", "zwölf"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"x,label\n1,2\n", "'text'"),
        ("a.csv", b"text,label\n,2\n", "has no text"),
        ("a.txt", b"\xff", "not UTF-8"),
        ("a.xlsx", b"PK", ".csv"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(LabelmillError, match=says):
        read_file(write(tmp_path, name, content), "text", "label")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabelmillError, match=r"no file .*none\.csv"):
        read_file(tmp_path / "none.csv", "text", "label")


def test_a_limit_takes_texts_evenly() -> None:
    texts = Texts([f"t{n}" for n in range(10)], [f"l{n}" for n in range(10)], "x")
    assert limited(texts, 3) == Texts(["t0", "t3", "t6"], ["l0", "l3", "l6"], "x")
    assert limited(texts, 99) == texts


def test_the_test_split_is_made_again_from_data_set_and_seed(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    content = "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(40))
    with DatasetStore(tmp_path).begin() as writer:
        writer.write(content.encode())
        meta = writer.finish(DatasetHeader(format="csv"))
    trained = tiny_manifest(registry, {"dataset_id": meta.id, "config": {"seed": 7}})
    texts = read_test_split(registry, trained)
    assert texts is not None
    rows = split([(n % 2,) for n in range(40)], 2, seed=7).test
    assert texts.texts == [f"text {n}" for n in rows]
    assert texts.labels == ["ab"[n % 2] for n in rows]
    assert texts.source == "the test split of tiny@1"


@pytest.mark.parametrize("training", [{}, {"dataset_id": "0" * 64, "config": {"seed": 7}}])
def test_without_its_data_set_a_version_has_no_test_split(
    tmp_path: Path, training: dict[str, object]
) -> None:
    registry = Registry(tmp_path)
    assert read_test_split(registry, tiny_manifest(registry, training)) is None


def tiny_manifest(registry: Registry, training: dict[str, object]) -> Manifest:
    version = tiny.publish(registry)
    return registry.manifest("tiny", version).model_copy(update={"training": training})
