from __future__ import annotations

import numpy as np
import onnx
import torch

from labelmill.worker.engines import batches, pad


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
    """Its output projection, the feed-forward block and both residuals come after a selection."""
    nodes = onnx.load(exported.fp32).graph.node
    producers = {name: node for node in nodes for name in node.output}
    selections = [
        node
        for node in nodes
        if node.op_type == "Gather" and any(a.name == "axis" and a.i == 1 for a in node.attribute)
    ]

    assert len(selections) == 2, "the last attention's output, and what is added to it"
    sources = {producers[node.input[0]].op_type for node in selections}
    assert sources == {"Reshape", "LayerNormalization"}
