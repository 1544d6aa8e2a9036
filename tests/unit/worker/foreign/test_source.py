"""What is refused before anything is loaded, and the labels of what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import LABELS, edit_config, make_checkpoint

from labelmill.errors import InvalidArgumentError
from labelmill.worker.foreign.source import read_source

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def checkpoint(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in whole.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        read_source(folder)
    assert [violation.field for violation in caught.value.violations] == ["source_directory"]
    return caught.value.message


def test_a_good_checkpoint_is_described(checkpoint: Path) -> None:
    source = read_source(checkpoint)
    assert source.labels == list(LABELS)
    assert source.problem_type == "single_label"
    assert (source.checkpoint.architecture, source.checkpoint.max_tokens) == ("bert", 66)
    assert source.warnings == []
    assert source.facts()["architectures"] == ["BertForSequenceClassification"]


def test_labels_follow_their_numbers(checkpoint: Path) -> None:
    names = [f"n{number:02}" for number in range(12)][::-1]
    # Sorted as text: 0, 1, 10, 11, 2, ...
    edit_config(checkpoint, lambda c: c.update(id2label={str(n): x for n, x in enumerate(names)}))
    assert list(json.loads((checkpoint / "config.json").read_text())["id2label"])[2] == "10"
    assert read_source(checkpoint).labels == names


def test_a_directory_that_the_worker_does_not_see(tmp_path: Path) -> None:
    message = refused(tmp_path / "elsewhere")
    assert "there is no" in message
    assert "every worker that trains" in message
    file = tmp_path / "file"
    file.touch()
    assert "is no directory" in refused(file)


def test_a_directory_that_it_may_not_read(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(file: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    message = refused(checkpoint)
    assert "config.json cannot be read by the worker" in message
    assert "Permission denied" in message


@pytest.mark.parametrize(
    ("drop", "add", "says"),
    [
        (["config.json"], {}, "holds no config.json"),
        (["model.safetensors"], {}, "holds no weights"),
        (
            ["model.safetensors"],
            {"pytorch_model.bin": "x"},
            "only pickled weights.*save_pretrained",
        ),
        (
            ["model.safetensors"],
            {"model.safetensors.index.json": '{"weight_map": {"a": "model-1-of-2.safetensors"}}'},
            "lacks model-1-of-2.safetensors.*all parts",
        ),
        (
            ["model.safetensors"],
            {"model.safetensors.index.json": '{"weight_map": {"a": "../../secret.safetensors"}}'},
            "does not say which files of the folder",
        ),
        ([], {"model.safetensors": "x"}, "is no safetensors file"),
        (["config.json", "model.safetensors"], {"adapter_config.json": "{}"}, "merge_and_unload"),
        ([], {"tokenizer_config.json": '{"auto_map": {"AutoTokenizer": "t.T"}}'}, "auto_map"),
        ([], {"tokenizer_config.json": "nonsense"}, "tokenizer_config.json is not JSON"),
    ],
)
def test_files_that_are_missing_or_too_much(
    checkpoint: Path, drop: list[str], add: dict[str, str], says: str
) -> None:
    for name in drop:
        (checkpoint / name).unlink()
    for name, content in add.items():
        (checkpoint / name).write_text(content)
    with pytest.raises(InvalidArgumentError, match=says):
        read_source(checkpoint)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"auto_map": {"AutoModel": "modeling.Mine"}}, "names code of its own"),
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM, which does not classify"),
        ({"model_type": "bart", "is_encoder_decoder": True}, "of type 'bart'"),
        ({"model_type": "no-such-type"}, "of type 'no-such-type'"),
        ({"quantization_config": {"bits": 4}}, "quantized already"),
        ({"problem_type": "regression"}, "predicts a number"),
        ({"problem_type": "ranking"}, "'ranking'; use single_label_classification"),
        ({"id2label": {"0": "score"}, "num_labels": None}, "one output"),
        ({"num_labels": 5}, "id2label names 3 labels, num_labels says 5; mend id2label"),
        ({"id2label": {"1": "a", "2": "b"}}, "keys 1, 2 ... instead of 0 to 1"),
        ({"id2label": {"a": 0, "b": 1}}, "does not map numbers to names"),
        ({"id2label": ["a", "b"]}, "does not map numbers to names"),
        ({"id2label": {"0": "a", "1": "a"}}, "'a' more than once"),
        ({"id2label": {"0": "a", "1": " "}}, "label 1 is ' '"),
        ({"id2label": {"0": "a", "1": "UNKNOWN"}}, "below the threshold"),
        (
            {"problem_type": "multi_label_classification", "id2label": {"0": "a|b", "1": "c"}},
            "stands between them",
        ),
    ],
)
def test_configurations_that_cannot_be_served(
    checkpoint: Path, change: dict[str, Any], says: str
) -> None:
    edit_config(checkpoint, lambda config: config.update(change))
    assert says in refused(checkpoint)


def test_several_labels_are_known_by_the_problem_type(checkpoint: Path) -> None:
    edit_config(checkpoint, lambda c: c.update(problem_type="multi_label_classification"))
    assert read_source(checkpoint).multi_label


def test_a_bar_in_a_label_is_fine_where_there_is_only_one(checkpoint: Path) -> None:
    edit_config(checkpoint, lambda c: c.update(id2label={"0": "a|b", "1": "c"}))
    assert read_source(checkpoint).labels == ["a|b", "c"]


@pytest.mark.parametrize(("count", "labels"), [(None, 2), (4, 4)])
def test_labels_without_names_are_warned_of(
    checkpoint: Path, count: int | None, labels: int
) -> None:
    def forget(config: dict[str, Any]) -> None:
        del config["id2label"], config["label2id"]
        if count is not None:
            config["num_labels"] = count

    edit_config(checkpoint, forget)
    source = read_source(checkpoint)
    assert source.labels == [f"LABEL_{number}" for number in range(labels)]
    assert "no names" in source.warnings[0]


def test_a_contradiction_of_the_two_maps_is_warned_of(checkpoint: Path) -> None:
    edit_config(checkpoint, lambda c: c.update(label2id={"ant": 0, "moth": 1, "zebra": 2}))
    source = read_source(checkpoint)
    assert source.labels == list(LABELS)
    assert "id2label counts" in source.warnings[0]
