from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from classifiers import make_classifier, train
from tiny_bert import make_rows

from labelmill.errors import ArtifactCorruptError, GateFailedError, InvalidArgumentError
from labelmill.worker.engines import batches
from labelmill.worker.engines.golden import self_test
from labelmill.worker.engines.onnx import OnnxEngine
from labelmill.worker.export import attempts, pipeline
from labelmill.worker.export.pipeline import ExportRequest, export_version

ROWS = make_rows(300)
TEXTS = [text for text, _ in ROWS]
TARGETS = np.array([int(label == "good") for _, label in ROWS])


def make_request(checkpoint, folder, **changes):
    folder.mkdir()
    request = ExportRequest(
        checkpoint=checkpoint,
        folder=folder,
        labels=["bad", "good"],
        problem_type="single_label",
        max_length=32,
        calibration_texts=TEXTS[:100],
        gate_texts=TEXTS,
        gate_targets=TARGETS,
        gate_source="300 texts",
        test_rows=slice(0, 100),
    )
    return dataclasses.replace(request, **changes)


def be_silent(stage, message):
    assert stage in ("export", "quantize", "gates")
    assert message


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Too small for INT8 to save three quarters of the bytes."""
    return make_classifier(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    checkpoint = make_classifier(folder / "checkpoint", hidden=128, rows=30_000)
    train(checkpoint, TEXTS, TARGETS.tolist(), steps=60)
    request = make_request(checkpoint, folder / "version")
    stages = []
    result = export_version(request, lambda stage, message: stages.append(stage))
    return request, result, stages


def test_a_good_model_is_published_with_both_engines(published):
    request, result, stages = published

    assert {gate.name: gate.value for gate in result.gates if not gate.passed} == {}
    assert result.engines == ["onnx-int8", "onnx-fp32"]
    assert result.int8 is not None
    assert set(stages) == {"export", "quantize", "gates"}
    files = {str(f.relative_to(request.folder)) for f in request.folder.rglob("*") if f.is_file()}
    assert files == {
        "tokenizer.json",
        "torch/config.json",
        "torch/model.safetensors",
        "model.fp32.onnx",
        "model.int8.onnx",
        "golden.json",
    }
    assert (result.torch_logits.argmax(axis=1) == TARGETS).mean() > 0.9
    np.testing.assert_allclose(result.fp32_logits, result.torch_logits, atol=1e-3)
    json.dumps(result.details)
    json.dumps(result.int8)


def test_its_golden_texts_pass_on_the_machine_that_made_them(published):
    request, _, _ = published
    file = request.folder / "golden.json"
    golden = json.loads(file.read_text())

    assert len(golden["texts"]) == len(golden["token_ids"]) == 64
    assert {TARGETS[TEXTS.index(text)] for text in golden["texts"]} == {0, 1}
    for name in ("onnx-int8", "onnx-fp32"):
        engine = OnnxEngine(request.folder / f"model.{name[5:]}.onnx", name, 0)
        test = self_test(engine, file)
        assert test.passed
        assert test.label_agreement == 1.0
        assert test.max_abs_dlogit < 1e-3


def test_int8_that_fails_a_gate_is_not_published(small, tmp_path):
    request = make_request(small, tmp_path / "version")

    result = export_version(request, be_silent)

    assert "int8.size_ratio" in {gate.name for gate in result.gates if not gate.passed}
    assert result.engines == ["onnx-fp32"]
    assert result.int8 is None
    assert result.int8_logits is None
    assert not (request.folder / "model.int8.onnx").exists()
    assert json.loads((request.folder / "golden.json").read_text())["int8_logits"] is None


def test_a_file_that_is_too_large_is_not_made_larger_still(small, tmp_path):
    result = export_version(make_request(small, tmp_path / "version"), be_silent)

    (tried,) = result.details["int8_tried"]
    assert tried["failed"] == ["int8.size_ratio"]


def test_a_recipe_that_fails_gives_way_to_a_slower_one(published, tmp_path, monkeypatch):
    """The first recipe's model is put out of order; the second is published and both are told."""
    request, _, _ = published

    class Clumsy(OnnxEngine):
        made = 0

        def __init__(self, *args):
            super().__init__(*args)
            Clumsy.made += 1
            self.wrong = Clumsy.made == 1

        def infer(self, token_ids):
            return super().infer(token_ids) * (-1 if self.wrong else 1)

    monkeypatch.setattr(attempts, "OnnxEngine", Clumsy)
    folder = tmp_path / "version"
    folder.mkdir()
    again = dataclasses.replace(request, folder=folder)

    result = export_version(again, be_silent)

    first, second = result.details["int8_tried"]
    assert "int8.label_agreement" in first["failed"]
    assert second == {**second, "recipe": "smoothing and outliers", "failed": []}
    assert result.int8 is not None
    assert result.int8["recipe"] == "smoothing and outliers"
    assert all(gate.passed for gate in result.gates)


def test_an_export_that_decides_otherwise_is_refused(small, tmp_path, monkeypatch):
    class Wrong(OnnxEngine):
        def infer(self, token_ids):
            return super().infer(token_ids) + np.float32([0.01, 0.0])

    monkeypatch.setattr(pipeline, "OnnxEngine", Wrong)

    with pytest.raises(GateFailedError, match=r"fp32\.max_abs_dlogit is 0\.01, not at most 0\.001"):
        export_version(make_request(small, tmp_path / "version"), be_silent)


def test_labels_must_fit_the_checkpoint(small, tmp_path):
    request = make_request(small, tmp_path / "version", labels=["a", "b", "c"])
    with pytest.raises(InvalidArgumentError, match="labels: has 3 names"):
        export_version(request, be_silent)


@pytest.mark.parametrize("field", ["gate_texts", "calibration_texts"])
def test_there_must_be_texts(small, tmp_path, field):
    request = make_request(small, tmp_path / "version", **{field: []})
    with pytest.raises(InvalidArgumentError, match=f"{field}: is empty"):
        export_version(request, be_silent)


def test_a_checkpoint_without_a_head_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    checkpoint = make_classifier(tmp_path / "checkpoint")
    weights = load_file(checkpoint / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ArtifactCorruptError, match=r"lacks the weights classifier\.weight"):
        export_version(make_request(checkpoint, tmp_path / "version"), be_silent)


def test_multi_label_models_go_the_same_way(small, tmp_path):
    targets = np.stack([TARGETS == 0, TARGETS == 1], axis=1)
    request = make_request(
        small, tmp_path / "version", problem_type="multi_label", gate_targets=targets
    )

    result = export_version(request, be_silent)

    values = {gate.name: gate.value for gate in result.gates}
    assert values["fp32.label_agreement"] == 1.0
    logits = batches.run(
        OnnxEngine(request.folder / "model.fp32.onnx", "onnx-fp32", 0), [[2, 5, 3]]
    )
    assert logits.shape == (1, 2)


def test_without_labels_it_is_judged_by_the_checkpoint_alone(small, tmp_path):
    result = export_version(make_request(small, tmp_path / "version", gate_targets=None), be_silent)

    names = {gate.name for gate in result.gates}
    assert {"fp32.label_agreement", "fp32.max_abs_dlogit", "int8.noise"} <= names
    assert not [name for name in names if "f1" in name]
