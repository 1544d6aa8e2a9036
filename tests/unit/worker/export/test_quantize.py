from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper

from labelmill.worker import cpu
from labelmill.worker.engines import batches
from labelmill.worker.engines.onnx import OnnxEngine, session_options
from labelmill.worker.export.calibration import Activations
from labelmill.worker.export.quantize import Quantizer
from labelmill.worker.export.recipe import RECIPES
from labelmill.worker.export.smoothquant import plan

from .conftest import TABLE_ROWS, export_tiny, rows_of


def operators_run(file, folder):
    """What ONNX Runtime makes of the file."""
    options = session_options(1)
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def int8_arrays(file):
    tensors = onnx.load(file).graph.initializer
    return [numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8]


def test_int8_logits_are_close_to_fp32(exported):
    rows = rows_of(100, seed=2)
    fp32 = exported.open_fp32().infer(rows)
    int8 = exported.open_int8().infer(rows)

    assert np.abs(int8 - fp32).mean() < 0.05 * fp32.std()


def test_a_text_scores_the_same_in_any_batch(exported):
    engine = exported.open_int8()
    rows = rows_of(60, seed=3)
    alone = batches.run(engine, rows, max_padded_tokens=1)

    for budget in (64, 512, 100_000):
        together = batches.run(engine, rows, max_padded_tokens=budget)
        np.testing.assert_allclose(together, alone, atol=1e-3)


def test_every_linear_layer_runs_on_bytes(exported, tmp_path):
    products = [n for n in onnx.load(exported.fp32).graph.node if n.op_type == "MatMul"]

    operators = operators_run(exported.int8, tmp_path)

    assert exported.recipe["linear_layers"] == len(products)
    assert operators.count("MatMulIntegerToFloat") == exported.recipe["linear_layers"]
    assert "DequantizeLinear" not in operators


def test_word_embeddings_are_gathered_as_int8_rows(exported):
    assert exported.recipe["embedding_tables"] == 1
    assert [a.shape for a in int8_arrays(exported.int8) if len(a) == TABLE_ROWS] == [
        (TABLE_ROWS, 64)
    ]
    assert exported.int8.stat().st_size < 0.4 * exported.fp32.stat().st_size


def test_onnx_runtime_loads_it_without_a_word(exported, capfd):
    onnx.checker.check_model(exported.int8, full_check=True)
    exported.open_int8()
    assert capfd.readouterr().err == ""


def test_without_vnni_weights_keep_to_half_their_range(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "has_vnni", lambda: False)

    tiny = export_tiny(tmp_path, "bert")

    assert tiny.recipe["reduced_range"]
    weights = [a for a in int8_arrays(tiny.int8) if a.ndim == 2 and len(a) != TABLE_ROWS]
    assert max(int(np.abs(w.astype(int)).max()) for w in weights) == 63


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("fires", [False, True])
def test_a_channel_that_fires_on_few_tokens_is_left_to_fp32(fires, smooth):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.05, (256, 64)).astype(np.float32)
    sample = rng.normal(0, 1, (400, 256)).astype(np.float32)
    if fires:
        weight[7, 3] = 5.0
        sample[::50, 7] *= 300
    seen = Activations(sample.min(axis=0), sample.max(axis=0), sample)

    found = plan(weight, seen, weight_max=127, smooth=smooth, outliers=(0, 1, 2, 4))

    assert found.outliers.tolist() == ([7] if fires else [])
    assert (found.smoothing is not None) == smooth
    assert found.error < 0.02


def test_ranges_are_cut_where_that_serves_the_many():
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.05, (64, 64)).astype(np.float32)
    sample = rng.normal(0, 1, (2000, 64)).astype(np.float32)
    sample[0] = np.sign(sample[0]) * 8
    seen = Activations(sample.min(axis=0), sample.max(axis=0), sample)

    found = plan(weight, seen, weight_max=127, smooth=False)

    assert found.scale * 255 < 0.8 * (seen.high.max() - seen.low.min())


def test_attention_output_is_smoothed_by_the_value_projection(exported):
    """What reads attention is quantized as it comes; only the other layers have a factor."""
    model = onnx.load(exported.int8)
    producers = {name: node for node in model.graph.node for name in node.output}

    def is_smoothed(quantize):
        return producers[quantize.input[0]].op_type == "Mul"

    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    # By layer: what queries, keys and values read, attention's output, both of the feed-forward
    # block; in the last layer queries read one token, which is a value of its own.
    assert [is_smoothed(n) for n in quantizers].count(True) == 2 + 3
    assert len(quantizers) == 4 + 5


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_is_close_to_fp32(exported, recipe, tmp_path):
    rows = rows_of(100, seed=2)
    quantizer = Quantizer(exported.fp32, rows_of(50, seed=1), threads=2)
    model, details = quantizer.quantize(recipe)
    ir.save(model, tmp_path / "int8.onnx")

    fp32 = exported.open_fp32().infer(rows)
    int8 = OnnxEngine(tmp_path / "int8.onnx", "onnx-int8", exported.pad_token_id).infer(rows)

    assert np.abs(int8 - fp32).mean() < 0.05 * fp32.std()
    assert details["fp32_layers"] == recipe.fp32_groups
