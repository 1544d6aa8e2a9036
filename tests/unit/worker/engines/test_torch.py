from __future__ import annotations

import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from classifiers import FAMILIES, make_classifier

from labelmill.errors import ArtifactCorruptError, EngineUnavailableError
from labelmill.registry import Manifest
from labelmill.worker import cpu
from labelmill.worker.engines import open_engine

ROWS = [[2, 5, 9, 3], [2, 7, 3], [2, 11, 12, 13, 14, 15, 3]]


def manifest_of(family):
    return Manifest(
        base_model="tiny",
        architecture=family,
        labels=["a", "b"],
        max_length=16,
        pad_token_id=1 if family == "roberta" else 0,
        engines=["onnx-fp32"],
        model="tiny",
        version=1,
        created_at=datetime.now(UTC),
        artifacts={},
    )


@pytest.fixture(scope="module", params=FAMILIES)
def version(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make_classifier(folder / "torch", request.param)
    return folder, manifest_of(request.param)


def test_padding_does_not_change_an_answer(version):
    engine = open_engine(*version, "torch-fp32", threads=1)

    together = engine.infer(ROWS)

    assert together.dtype == np.float32
    alone = np.concatenate([engine.infer([row]) for row in ROWS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_bf16_answers_like_fp32(version):
    if not (torch.cuda.is_available() or cpu.has_bf16()):
        pytest.skip("this CPU has no bf16 products")
    fp32 = open_engine(*version, "torch-fp32").infer(ROWS)
    bf16 = open_engine(*version, "torch-bf16").infer(ROWS)

    assert bf16.dtype == np.float32
    np.testing.assert_allclose(bf16, fp32, atol=0.1)


def test_bf16_is_refused_without_hardware(version, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(cpu, "has_bf16", lambda: False)
    with pytest.raises(EngineUnavailableError, match="torch-bf16 needs"):
        open_engine(*version, "torch-bf16")


@pytest.mark.parametrize("harm", ["no weights", "cut weights", "no config", "pickled weights"])
def test_a_damaged_checkpoint_is_corrupt(tmp_path, harm):
    folder = make_classifier(tmp_path / "torch")
    weights = folder / "model.safetensors"
    if harm == "no weights":
        weights.unlink()
    if harm == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    if harm == "no config":
        (folder / "config.json").unlink()
    if harm == "pickled weights":
        shutil.move(weights, folder / "pytorch_model.bin")

    with pytest.raises(ArtifactCorruptError, match="cannot be loaded"):
        open_engine(tmp_path, manifest_of("bert"), "torch-fp32")
