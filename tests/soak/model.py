"""A version that computes little and yet needs memory as a real one does: attention, INT8."""

from __future__ import annotations

from pathlib import Path

from classifiers import make_tokenizer

from labelmill.registry import Description, Registry
from labelmill.registry.manifest import GOLDEN_FILE, ONNX_FP32_FILE, ONNX_INT8_FILE, TOKENIZER_FILE

LABELS = ["no", "yes"]


def publish(registry: Registry, max_length: int, model: str = "soak") -> int:
    """Registers a BERT of one layer, 64 wide, with random weights; returns the version."""
    import numpy as np
    import onnx_ir as ir
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from labelmill.worker.engines.onnx import OnnxEngine
    from labelmill.worker.export import golden
    from labelmill.worker.export.graph import export_graph
    from labelmill.worker.export.quantize import Quantizer
    from labelmill.worker.export.recipe import RECIPES

    torch.manual_seed(0)
    classifier = BertForSequenceClassification(
        BertConfig(
            vocab_size=100,
            hidden_size=64,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=max_length,
            num_labels=len(LABELS),
            attn_implementation="eager",
        )
    ).eval()
    rng = np.random.default_rng(0)
    rows = [rng.integers(4, 20, length).tolist() for length in range(3, 67)]
    with registry.stage(model) as staging:
        folder: Path = staging.path
        make_tokenizer(folder, "bert")
        assert (folder / TOKENIZER_FILE).is_file()
        ir.save(export_graph(classifier, 0)[0], folder / ONNX_FP32_FILE)
        quantizer = Quantizer(folder / ONNX_FP32_FILE, rows, threads=1)
        ir.save(quantizer.quantize(RECIPES[0])[0], folder / ONNX_INT8_FILE)
        logits = [
            OnnxEngine(folder / file, name, 0).infer(rows)
            for file, name in ((ONNX_FP32_FILE, "onnx-fp32"), (ONNX_INT8_FILE, "onnx-int8"))
        ]
        golden.write(folder / GOLDEN_FILE, [""] * len(rows), rows, logits[0], logits[1])
        description = Description(
            base_model="soak",
            architecture="bert",
            labels=LABELS,
            max_length=max_length,
            pad_token_id=0,
            engines=["onnx-int8", "onnx-fp32"],
        )
        return staging.publish(description).version
