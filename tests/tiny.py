"""A model version small enough to make in a test: a bag of words in ONNX, no training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from labelmill.registry import Description, Registry
from labelmill.registry.manifest import GOLDEN_FILE, ONNX_FP32_FILE, TOKENIZER_FILE
from labelmill.worker.engines.onnx import OnnxEngine

LABELS = ["bad", "good"]

#: Each word's push towards (bad, good). "poison" has an id beyond the table: the engine fails.
WORDS = {"dull": (2.0, 0.0), "fine": (0.0, 1.0), "great": (0.0, 3.0), "the": (0.1, 0.1)}

MAX_LENGTH = 16


def make_tokenizer(file: Path) -> None:
    """Words become ids; anything else is unknown."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS, "poison"])}
    tokenizer = tokenizers.Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(file))


def make_onnx(file: Path) -> None:
    """Sums the rows of the word table over the text."""
    table = np.array([(0, 0)] * 4 + list(WORDS.values()), dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["rows", "column"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
        ],
        "bag",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "middle"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)


def publish(registry: Registry, model: str = "tiny", threshold: float = 0.0) -> int:
    """Registers a version and returns its number."""
    with registry.stage(model) as staging:
        make_tokenizer(staging.path / TOKENIZER_FILE)
        make_onnx(staging.path / ONNX_FP32_FILE)
        description = Description(
            base_model="tiny",
            architecture="bag",
            labels=LABELS,
            max_length=MAX_LENGTH,
            pad_token_id=0,
            threshold=threshold,
            engines=["onnx-fp32"],
        )
        token_ids = [[1, 4, 2], [1, 5, 6, 2], [1, 7, 4, 2]]
        engine = OnnxEngine(staging.path / ONNX_FP32_FILE, "onnx-fp32", pad_token_id=0)
        golden = {
            "token_ids": token_ids,
            "fp32_logits": engine.infer(token_ids).tolist(),
            "int8_logits": None,
        }
        (staging.path / GOLDEN_FILE).write_text(json.dumps(golden))
        return staging.publish(description).version
