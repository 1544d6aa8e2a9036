from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import tiny

from labelmill.errors import ArtifactCorruptError, EngineUnavailableError
from labelmill.registry import Registry
from labelmill.worker.engines.checked import open_checked
from labelmill.worker.engines.golden import self_test
from labelmill.worker.engines.onnx import OnnxEngine

TOKEN_IDS = [[1, 4, 2], [1, 5, 6, 2], [1, 7, 4, 2], [1, 6, 6, 2]]


@pytest.fixture
def version(tmp_path):
    """A version with both engines; its "INT8" file is the fp32 one."""
    registry = Registry(tmp_path)
    number = tiny.publish(registry)
    folder = registry.path("tiny", number)
    manifest = registry.manifest("tiny", number)
    (folder / "model.int8.onnx").write_bytes((folder / "model.fp32.onnx").read_bytes())
    write_golden(folder)
    return folder, manifest.model_copy(update={"engines": ["onnx-int8", "onnx-fp32"]})


def write_golden(folder, int8_shift=0.0, fp32_shift=0.0):
    """Golden logits, the first label's moved away from what the file gives."""
    engine = OnnxEngine(folder / "model.fp32.onnx", "onnx-fp32", 0)
    logits = engine.infer(TOKEN_IDS)
    content = {
        "token_ids": TOKEN_IDS,
        "fp32_logits": (logits + np.float32([fp32_shift, 0])).tolist(),
        "int8_logits": (logits + np.float32([int8_shift, 0])).tolist(),
    }
    (folder / "golden.json").write_text(json.dumps(content))


def test_the_engine_asked_for_serves_when_it_passes(version, caplog):
    engine, test = open_checked(*version, "onnx-int8")

    assert engine.name == "onnx-int8"
    assert test.passed
    assert test.label_agreement == 1.0
    assert test.max_abs_dlogit < 1e-6
    assert not caplog.records


def test_another_cpus_rounding_passes(version):
    write_golden(version[0], int8_shift=0.01)
    engine, test = open_checked(*version, "onnx-int8")
    assert (engine.name, test.passed) == ("onnx-int8", True)


@pytest.mark.parametrize(("drift", "serves"), [(0.1, "onnx-int8"), (0.4, "onnx-fp32")])
def test_drift_is_judged_by_what_quantization_itself_changed(version, drift, serves):
    """Here INT8 was recorded 0.5 from fp32: rounding is far less than that, saturation is not."""
    write_golden(version[0], int8_shift=drift, fp32_shift=drift + 0.5)
    int8 = OnnxEngine(version[0] / "model.int8.onnx", "onnx-int8", 0)
    assert self_test(int8, version[0] / "golden.json").passed == (serves == "onnx-int8")


def test_int8_that_drifts_gives_way_to_fp32(version, caplog):
    write_golden(version[0], int8_shift=1.0)

    with caplog.at_level(logging.WARNING):
        engine, test = open_checked(*version, "onnx-int8")

    assert engine.name == "onnx-fp32"
    assert test.passed
    assert "onnx-int8 of tiny@1 fails its self-test on this CPU" in caplog.text
    assert "logits off by 1; serving onnx-fp32 instead" in caplog.text


def test_an_engine_that_decides_otherwise_fails(version):
    class Swapped(OnnxEngine):
        def infer(self, token_ids):
            return super().infer(token_ids)[:, ::-1]

    test = self_test(
        Swapped(version[0] / "model.int8.onnx", "onnx-int8", 0), version[0] / "golden.json"
    )
    assert not test.passed
    assert test.label_agreement == 0.0


def test_nothing_serves_when_fp32_fails_too(version):
    write_golden(version[0], int8_shift=1.0, fp32_shift=1.0)
    with pytest.raises(EngineUnavailableError, match="onnx-fp32 of tiny@1 fails its self-test"):
        open_checked(*version, "onnx-int8")


def test_logits_that_are_no_numbers_fail(version):
    class Broken:
        name = "onnx-fp32"

        def infer(self, token_ids):
            return np.full((len(token_ids), 2), np.nan, dtype=np.float32)

    assert not self_test(Broken(), version[0] / "golden.json").passed


@pytest.mark.parametrize(
    "content", ["", "{}", '{"token_ids": [], "fp32_logits": [], "int8_logits": []}']
)
def test_golden_texts_that_cannot_be_read_are_corrupt(version, content):
    (version[0] / "golden.json").write_text(content)
    with pytest.raises(ArtifactCorruptError, match=r"golden\.json"):
        open_checked(*version, "onnx-int8")
