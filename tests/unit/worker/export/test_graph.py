from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from labelmill.worker.engines import batches, pad
from labelmill.worker.engines.onnx import OnnxEngine, session_options
from labelmill.worker.export import layout
from labelmill.worker.export.graph import export_graph, takes_additive_mask

from .conftest import export_tiny, rows_of


def test_a_padded_batch_gives_the_logits_of_pytorch(exported):
    rng = np.random.default_rng(0)
    rows = [rng.integers(4, 24, length).tolist() for length in range(3, 41)]
    input_ids, attention_mask = map(torch.from_numpy, pad(rows, exported.pad_token_id))
    with torch.inference_mode():
        output = exported.model(input_ids=input_ids, attention_mask=attention_mask)
    wanted = output.logits.numpy()

    engine = exported.open_fp32()

    assert np.ptp(wanted, axis=0).min() > 0.01, "the model tells these texts apart"
    np.testing.assert_allclose(engine.infer(rows), wanted, atol=2e-5)
    np.testing.assert_allclose(batches.run(engine, rows, max_padded_tokens=1), wanted, atol=2e-5)


def test_the_file_is_clean(exported, capfd):
    onnx.checker.check_model(exported.fp32, full_check=True)

    exported.open_fp32()

    assert capfd.readouterr().err == "", "ONNX Runtime warns of what the graph does not use"
    graph = onnx.load(exported.fp32).graph
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used
    assert not any(node.metadata_props or node.doc_string for node in graph.node)


def test_the_last_layer_computes_only_the_token_that_is_read(exported):
    """Query, output projection and feed-forward block of the last layer see one token a text."""
    first, last = (set(linear_rows(exported.fp32, layer)) for layer in (0, 1))

    assert first == {TEXTS * TOKENS}
    assert last == {TEXTS * TOKENS, TEXTS}
    assert linear_rows(exported.fp32, 1).count(TEXTS * TOKENS) == 2, "keys and values see all"


def test_token_types_cost_nothing(exported):
    """Their lookup is folded into the positions; DistilBERT has none."""
    nodes = onnx.load(exported.fp32).graph.node
    tensors = onnx.load(exported.fp32).graph.initializer
    tables = {tensor.name for tensor in tensors if len(tensor.dims) == 2}
    lookups = [n for n in nodes if n.op_type == "Gather" and n.input[0] in tables]

    assert exported.made["token_types_folded"] == (exported.model.config.model_type != "distilbert")
    assert len(lookups) == 2, "words and positions"
    assert not {"GatherElements", "Expand"} & {node.op_type for node in nodes}


def test_heads_are_read_where_they_lie(exported):
    """A transposition of the whole, and one for the result of each attention."""
    operators = [node.op_type for node in onnx.load(exported.fp32).graph.node]

    assert exported.made["layout"] == "tokens first"
    assert exported.made["attentions"] == operators.count("Softmax") == 2
    assert operators.count("Transpose") == 1 + 2
    assert operators.count("FusedMatMul") == 2 * 2


def test_an_attention_that_is_not_known_is_exported_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "find_attentions", lambda graph: None)

    plain = export_tiny(tmp_path, "bert")

    assert plain.made["layout"] == "plain"
    rows = rows_of(20, seed=4)
    input_ids, attention_mask = map(torch.from_numpy, pad(rows, plain.pad_token_id))
    with torch.inference_mode():
        wanted = plain.model(input_ids=input_ids, attention_mask=attention_mask).logits.numpy()
    np.testing.assert_allclose(plain.open_fp32().infer(rows), wanted, atol=2e-5)


def test_padding_leaves_no_denormals(exported):
    """The usual mask of -3e38 does, and a CPU multiplies those a hundred times slower."""
    names = [n.output[0] for n in onnx.load(exported.fp32).graph.node if n.op_type == "Softmax"]

    for weights in values_of(exported.fp32, names, [[5, 6, 7], list(range(4, 24))]):
        assert weights.min() > np.finfo(np.float32).tiny
        assert weights[0, :, :, 3:].max() < 1e-20


def test_the_mask_is_added_where_the_architecture_adds_it(exported):
    assert takes_additive_mask(exported.model, exported.pad_token_id)


@pytest.mark.parametrize("family", ["modernbert", "deberta-v2"])
def test_an_architecture_with_a_mask_of_its_own_is_exported_with_it(family, tmp_path):
    model = with_own_mask(family)
    assert not takes_additive_mask(model, 0)

    graph, made = export_graph(model, 0)
    ir.save(graph, tmp_path / "fp32.onnx")
    rows = [*rows_of(6, seed=2), list(range(4, 24)) * 5]
    input_ids, attention_mask = map(torch.from_numpy, pad(rows, 0))
    with torch.inference_mode():
        wanted = model(input_ids=input_ids, attention_mask=attention_mask).logits.numpy()
    engine = OnnxEngine(tmp_path / "fp32.onnx", "onnx-fp32", 0)

    np.testing.assert_allclose(engine.infer(rows), wanted, atol=2e-5)
    assert made["nodes"] > 0


def with_own_mask(family):
    """A classifier whose attention sees near tokens only, or tokens by their distance."""
    shape = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "num_labels": 3,
    }
    own = {
        "modernbert": {
            "local_attention": 8,
            "global_attn_every_n_layers": 2,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "cls_token_id": 2,
            "sep_token_id": 3,
        },
        "deberta-v2": {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 16,
        },
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **shape, **own[family])
    config._attn_implementation = "eager"
    return AutoModelForSequenceClassification.from_config(config).eval()


TEXTS, TOKENS = 3, 7


def linear_rows(file, layer):
    """Rows that each linear layer of an encoder's layer multiplies, for TEXTS of TOKENS tokens."""
    model = onnx.load(file)
    constants = {tensor.name for tensor in model.graph.initializer}
    linear = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    names = [node.output[0] for node in linear[6 * layer : 6 * layer + 6]]
    outputs = values_of(file, names, [list(range(4, 4 + TOKENS))] * TEXTS)
    return [output.size // output.shape[-1] for output in outputs]


def values_of(file, names, rows):
    model = onnx.load(file)
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options(1))
    input_ids, attention_mask = pad(rows, 0)
    return session.run(names, {"input_ids": input_ids, "attention_mask": attention_mask})
