"""What the activations of a graph are like on real text. Owns running it and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from labelmill.worker.engines.onnx import session_options

#: Tokens of each text that are kept whole, besides the first, which most classifiers read.
_TOKENS_A_TEXT = 6

_SEED = 0


@dataclass(frozen=True)
class Activations:
    """What one value of the graph held over all calibration tokens."""

    #: Least and greatest of each channel, (channels,).
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    #: Some whole tokens, (tokens, channels).
    sample: NDArray[np.float32]


def observe(
    model: ir.Model, names: Sequence[str], token_ids: Sequence[Sequence[int]], threads: int
) -> dict[str, Activations]:
    """Runs the fp32 graph over texts one by one, so without padding.

    Args:
        model: a graph that `export_graph` made.
        names: values to watch, each (batch, sequence, channels) or (batch, channels).
        token_ids: one row a text.
        threads: Python threads that run the graph.

    Returns:
        The activations of each of `names`.
    """
    proto = ir.to_proto(model)
    proto.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"]
    )
    picks = np.random.default_rng(_SEED).random((len(token_ids), _TOKENS_A_TEXT))

    def watch(text: int) -> list[Activations]:
        ids = np.asarray([token_ids[text]], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        outputs = session.run(list(names), feed)
        return [_summary(output.reshape(-1, output.shape[-1]), picks[text]) for output in outputs]

    with ThreadPoolExecutor(threads, thread_name_prefix="calibrate") as pool:
        texts = list(pool.map(watch, range(len(token_ids))))
    return {name: _merge([text[i] for text in texts]) for i, name in enumerate(names)}


def _summary(tokens: NDArray[np.float32], picks: NDArray[np.float64]) -> Activations:
    kept = np.unique([0, len(tokens) - 1, *(picks * len(tokens)).astype(int)])
    return Activations(tokens.min(axis=0), tokens.max(axis=0), tokens[kept])


def _merge(parts: Sequence[Activations]) -> Activations:
    return Activations(
        np.min([part.low for part in parts], axis=0),
        np.max([part.high for part in parts], axis=0),
        np.concatenate([part.sample for part in parts]),
    )
