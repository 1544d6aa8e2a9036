"""Checkpoint to ONNX fp32: one tracing path for every architecture. Owns what is traced."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch

from labelmill.worker.export.clean import clean
from labelmill.worker.export.first_token import select_first
from labelmill.worker.export.layout import lay_out_tokens_first
from labelmill.worker.export.token_types import fold_token_types

#: The first with Gelu as one operator, which ONNX Runtime fuses with its bias.
OPSET = 20

#: Rows and tokens of the example batch that is traced; neither 1 nor equal, so that no axis is
#: mistaken for another or for a constant.
_EXAMPLE_LENGTHS = (13, 9, 5)

#: Added to the attention score of padding. e^-64 is 1e-28, nothing beside any real token; the
#: usual -3e38 makes softmax leave denormals, on which a CPU multiplies a hundred times slower: a
#: batch with any padding took 80% longer in its attention.
MASKED_SCORE = -64.0

#: Tokens of the batch that shows how a model takes its mask, at most: more than windows of local
#: attention are wide.
_PROBE_TOKENS = 200

#: Difference of logits, as a share of the largest, that rounding may make.
_PROBE_TOLERANCE = 1e-4


class _LogitsOnly(torch.nn.Module):
    """The model with exactly the inputs and the output of the exported graph.

    Architectures derive positions from the ids and token types of zeros by themselves.

    Args:
        model: the classifier.
        additive: hand it a mask of four axes. Most of the BERT family add that to the attention
            scores as it is, which saves the graph the dozen operators that transformers builds one
            with.
    """

    def __init__(self, model: Any, *, additive: bool) -> None:
        super().__init__()
        self.model = model
        self._additive = additive

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask
        if self._additive:
            mask = (1.0 - attention_mask[:, None, None, :].to(self.model.dtype)) * MASKED_SCORE
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=mask).logits
        return logits


def export_graph(classifier: Any, pad_token_id: int) -> tuple[ir.Model, dict[str, Any]]:
    """Traces a sequence classifier to ONNX.

    Args:
        classifier: Hugging Face model, fp32, loaded with the attention implementation ``eager``.
        pad_token_id: the id that fills short rows.

    Returns:
        A graph from int64 input_ids and attention_mask, both (batch, sequence), to float32 logits
        (batch, labels); weights inside, nothing unused. And what was made of it, for the report:
        ``layout`` is ``plain`` where the architecture is none that is known.
    """
    ids, mask = _example(_EXAMPLE_LENGTHS, pad_token_id)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            _LogitsOnly(classifier, additive=takes_additive_mask(classifier, pad_token_id)).eval(),
            (ids, mask),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            external_data=False,
            verbose=False,
        )
        assert program is not None
        model = program.model
    types_folded = fold_token_types(model.graph)
    early = select_first(model.graph)
    attentions = lay_out_tokens_first(model)
    clean(model)
    operators = Counter(node.op_type for node in model.graph)
    return model, {
        "layout": "tokens first" if attentions else "plain",
        "attentions": attentions,
        "token_types_folded": types_folded,
        "nodes_on_one_token": early,
        "gelu": operators["Gelu"],
        "layer_normalization": operators["LayerNormalization"],
        "nodes": sum(operators.values()),
    }


def takes_additive_mask(classifier: Any, pad_token_id: int) -> bool:
    """Whether the model answers alike to a mask of four axes and to a usual one.

    Others have attention of their own: local windows, an order of tokens, a mask by query.

    Args:
        classifier: as `export_graph` takes it.
        pad_token_id: as `export_graph` takes it.
    """
    tokens = min(_PROBE_TOKENS, getattr(classifier.config, "max_position_embeddings", 0) // 2)
    lengths = (max(tokens, *_EXAMPLE_LENGTHS), *_EXAMPLE_LENGTHS[1:])
    ids, mask = _example(lengths, pad_token_id)
    with torch.no_grad():
        usual = _LogitsOnly(classifier, additive=False)(ids, mask)
        try:
            additive = _LogitsOnly(classifier, additive=True)(ids, mask)
        except (RuntimeError, ValueError, IndexError, TypeError):
            return False
    # NaN is never close.
    return bool((additive - usual).abs().max() <= _PROBE_TOLERANCE * usual.abs().max())


def _example(lengths: Sequence[int], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of rows of these lengths, (rows, longest)."""
    width = max(lengths)
    mask = torch.tensor([[int(i < length) for i in range(width)] for length in lengths])
    # Small ids, which every vocabulary has, and none of them padding.
    tokens = torch.arange(width) % max(_EXAMPLE_LENGTHS) + pad_token_id
    ids = torch.where(mask.bool(), tokens % 50 + 1, pad_token_id)
    return ids, mask


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself and on libraries that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
            warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.onnx\..*")
            yield
    finally:
        logger.setLevel(level)
