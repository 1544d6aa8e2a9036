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
