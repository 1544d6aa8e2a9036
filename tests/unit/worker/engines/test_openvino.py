from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny
from conftest import need
from onnx import TensorProto, helper, numpy_helper
from soak.model import publish

from labelmill.errors import ArtifactCorruptError, EngineUnavailableError
from labelmill.registry import Registry
from labelmill.worker.engines import Engine, batches, open_engine
from labelmill.worker.engines.base import missing_library
from labelmill.worker.engines.checked import open_checked
from labelmill.worker.engines.onnx import OnnxEngine


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A BERT with an INT8 file, as the exporter makes it."""
    missing = missing_library("openvino")
    need(missing is None, missing or "")
    registry = Registry(tmp_path_factory.mktemp("registry"))
    number = publish(registry, max_length=128)
    return registry.path("soak", number), registry.manifest("soak", number)


@pytest.fixture(scope="module")
def engine(version: tuple[Path, Any]) -> Engine:
    return open_engine(*version, "openvino-int8", threads=2)


def rows_of(count: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 20, rng.integers(3, 65)).tolist() for _ in range(count)]


def test_it_answers_like_onnx_runtime(version: tuple[Path, Any], engine: Engine) -> None:
    rows = rows_of(200, seed=1)
    expected = batches.run(open_engine(*version, "onnx-int8"), rows)

    logits = batches.run(engine, rows)

    assert logits.dtype == np.float32
    # Where rounding falls otherwise, an activation is one of 255 steps off.
    np.testing.assert_allclose(logits, expected, atol=0.02 * np.ptp(expected))


def test_neighbours_and_padding_do_not_change_an_answer(engine: Engine) -> None:
    rows = rows_of(64, seed=2)
    alone = np.concatenate([engine.infer([row]) for row in rows])

    for size in (3, 7, 16):
        starts = range(0, len(rows), size)
        together = np.concatenate([engine.infer(rows[start : start + size]) for start in starts])
        np.testing.assert_allclose(together, alone, atol=1e-3)


def test_threads_that_share_it_get_their_own_answers(engine: Engine) -> None:
    rows = rows_of(300, seed=3)
    expected = batches.run(engine, rows, threads=1)

    np.testing.assert_array_equal(batches.run(engine, rows, threads=2), expected)
    # More callers than it was opened for wait for each other.
    np.testing.assert_array_equal(batches.run(engine, rows, threads=5), expected)


def test_it_passes_the_self_test(version: tuple[Path, Any]) -> None:
    engine, test = open_checked(*version, "openvino-int8")
    assert (engine.name, test.passed) == ("openvino-int8", True)


def test_int8_that_drifts_gives_way_to_fp32(
    version: tuple[Path, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, manifest = version
    for file in folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    harm_classifier(tmp_path / "model.int8.onnx")

    with caplog.at_level(logging.WARNING):
        engine, _ = open_checked(tmp_path, manifest, "openvino-int8")

    assert engine.name == "onnx-fp32"
    assert "openvino-int8 of soak@1 fails its self-test on this CPU" in caplog.text


def harm_classifier(file: Path) -> None:
    """Swaps the labels."""
    model = onnx.load(file)
    model.graph.node.append(
        helper.make_node("Gather", ["straight", "order"], ["logits"], axis=1, name="swap")
    )
    for node in model.graph.node[:-1]:
        node.output[:] = ["straight" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 0]), "order"))
    onnx.save(model, file)


def test_a_version_without_int8_is_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    number = tiny.publish(registry)
    folder, manifest = registry.path("tiny", number), registry.manifest("tiny", number)
    with pytest.raises(EngineUnavailableError, match="not published for INT8.*it has onnx-fp32"):
        open_engine(folder, manifest, "openvino-int8")


@pytest.mark.parametrize("harm", ["missing", "cut", "other bytes", "other inputs"])
def test_a_damaged_file_is_corrupt(version: tuple[Path, Any], tmp_path: Path, harm: str) -> None:
    file = tmp_path / "model.int8.onnx"
    content = (version[0] / file.name).read_bytes()
    if harm == "cut":
        file.write_bytes(content[: len(content) // 2])
    if harm == "other bytes":
        file.write_bytes(b"\0not a model" * 50)
    if harm == "other inputs":
        save_scores(file, ids="tokens")

    with pytest.raises(ArtifactCorruptError, match=r"model\.int8\.onnx"):
        open_engine(tmp_path, version[1], "openvino-int8")


def test_a_factor_a_channel_survives_an_unknown_width(
    version: tuple[Path, Any], tmp_path: Path
) -> None:
    """As in graphs of architectures whose attention the exporter does not know."""
    from labelmill.worker.engines.openvino_graph import fix_widths
    from labelmill.worker.engines.openvino_library import openvino

    file = tmp_path / "model.int8.onnx"
    save_scores(file)
    model = openvino.Core().read_model(str(file))
    assert fix_widths(model) == 1
    assert fix_widths(model) == 0
    rows = rows_of(8, seed=4)

    logits = open_engine(tmp_path, version[1], "openvino-int8").infer(rows)

    expected = OnnxEngine(file, "onnx-int8", 0).infer(rows)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def save_scores(file: Path, ids: str = "input_ids") -> None:
    """Channels by a factor each, quantized and multiplied with a matrix."""
    rng = np.random.default_rng(0)
    constants = {
        "table": rng.uniform(0, 1, (20, 8)).astype(np.float32),
        "all": np.array([-1]),
        "factors": np.linspace(0.2, 2, 8, dtype=np.float32),
        "scale": np.array(0.01, dtype=np.float32),
        "zero": np.array(0, dtype=np.uint8),
        "matrix": rng.integers(-127, 127, (8, 2)).astype(np.int8),
        "scales": np.array([0.01, 0.02], dtype=np.float32),
        "zeros": np.zeros(2, dtype=np.int8),
        "middle": np.array([1]),
        "last": np.array([2]),
    }
    nodes = [
        helper.make_node("Gather", ["table", ids], ["rows"]),
        helper.make_node("Shape", ["attention_mask"], ["shape"]),
        helper.make_node("Concat", ["shape", "all"], ["target"], axis=0),
        helper.make_node("Reshape", ["rows", "target"], ["joined"]),
        helper.make_node("Mul", ["joined", "factors"], ["smooth"]),
        helper.make_node("QuantizeLinear", ["smooth", "scale", "zero"], ["bytes"]),
        helper.make_node(
            "MatMulIntegerToFloat",
            ["bytes", "matrix", "scale", "scales", "zero", "zeros"],
            ["product"],
            domain="com.microsoft",
        ),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["product", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "scores",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"])
            for name in (ids, "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), file)


@pytest.mark.parametrize(("batch_a", "batch_b"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_products_that_step_over_the_batch(
    version: tuple[Path, Any], tmp_path: Path, batch_a: int, batch_b: int
) -> None:
    """Every way to lay out the factors of an attention, against ONNX Runtime."""
    rng = np.random.default_rng(0)
    table = rng.uniform(-1, 1, (20, 6)).astype(np.float32)
    heads = {0: [0, 2, 1, 3], 1: [1, 0, 2, 3]}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("Reshape", ["kept", "split"], ["heads"]),
        helper.make_node("Transpose", ["heads"], ["a"], perm=heads[batch_a]),
        helper.make_node("Transpose", ["heads"], ["b"], perm=heads[batch_b]),
        helper.make_node(
            "FusedMatMul",
            ["a", "b"],
            ["scores"],
            domain="com.microsoft",
            alpha=0.5,
            transB=1,
            transBatchA=batch_a,
            transBatchB=batch_b,
        ),
        helper.make_node("ReduceSum", ["scores", "sides"], ["logits"], keepdims=0),
    ]
    constants = {
        "table": table,
        "last": np.array([2]),
        "split": np.array([0, 0, 2, 3]),
        "sides": np.array([2, 3]),
    }
    graph = helper.make_graph(
        nodes,
        "scores",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    file = tmp_path / "model.int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), file)
    rows = rows_of(5, seed=5)

    logits = open_engine(tmp_path, version[1], "openvino-int8").infer(rows)

    expected = OnnxEngine(file, "onnx-int8", 0).infer(rows)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_it_reports_to_nobody(version: tuple[Path, Any]) -> None:
    code = (
        "import sys, labelmill.worker.engines.openvino as engine;"
        "loaded = [name for name in sys.modules if name.startswith('openvino_telemetry')];"
        "sys.exit(any(sys.modules[name] is not None for name in loaded))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_library_it_says_what_to_install(
    version: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'labelmill\[openvino\]'"):
        open_engine(*version, "openvino-int8")
