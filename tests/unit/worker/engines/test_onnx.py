from __future__ import annotations

import numpy as np
import onnx
import pytest
import tiny
from onnx import TensorProto, helper

from labelmill.errors import ArtifactCorruptError, EngineUnavailableError, InternalError
from labelmill.registry import Registry
from labelmill.worker.engines import open_engine
from labelmill.worker.engines.onnx import OnnxEngine


@pytest.fixture
def version(tmp_path):
    registry = Registry(tmp_path)
    number = tiny.publish(registry)
    return registry.path("tiny", number), registry.manifest("tiny", number)


def test_rows_of_any_length_make_a_batch(version):
    engine = open_engine(*version, "onnx-fp32", threads=1)

    logits = engine.infer([[1, 4, 2], [1, 6, 6, 5, 2]])

    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [[2, 0], [0, 7]])


def test_an_engine_that_was_not_published_is_named(version):
    with pytest.raises(EngineUnavailableError, match="not published for onnx-int8; it has onnx-fp"):
        open_engine(*version, "onnx-int8")


@pytest.mark.parametrize("harm", ["missing", "cut", "other bytes"])
def test_a_damaged_file_is_corrupt(version, harm):
    folder, manifest = version
    file = folder / "model.fp32.onnx"
    content = file.read_bytes()
    file.unlink()
    if harm == "cut":
        file.write_bytes(content[: len(content) // 2])
    if harm == "other bytes":
        file.write_bytes(b"\0not a model" * 50)

    with pytest.raises(ArtifactCorruptError, match=r"model\.fp32\.onnx"):
        open_engine(folder, manifest, "onnx-fp32")


def save_identity(file, operator="Identity", domain="", inputs=("input_ids", "attention_mask")):
    graph = helper.make_graph(
        [helper.make_node(operator, [inputs[0]], ["logits"], domain=domain)],
        "identity",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.INT64, ["b", "s"])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), file)


def test_a_foreign_graph_is_refused(tmp_path):
    save_identity(tmp_path / "model.onnx", inputs=("x", "attention_mask"))
    with pytest.raises(ArtifactCorruptError, match="not exported by labelmill"):
        OnnxEngine(tmp_path / "model.onnx", "onnx-fp32", 0)


def test_a_failing_run_says_on_what(version):
    engine = open_engine(*version, "onnx-fp32")
    with pytest.raises(InternalError, match=r"onnx-fp32 failed on a batch of \(1, 3\)"):
        engine.infer([[1, 8, 2]])
