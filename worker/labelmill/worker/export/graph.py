"""Checkpoint to ONNX fp32: one tracing path for every architecture. Owns what is traced."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch

from labelmill.worker.export.clean import clean
from labelmill.worker.export.first_token import select_first

#: The first with Gelu as one operator, which ONNX Runtime fuses with its bias.
OPSET = 20

#: Rows and tokens of the example batch that is traced; neither 1 nor equal, so that no axis is
#: mistaken for another or for a constant.
_EXAMPLE_LENGTHS = (13, 9, 5)


class _LogitsOnly(torch.nn.Module):
    """The model with exactly the inputs and the output of the exported graph."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        # Architectures derive positions from the ids and token types of zeros by themselves. A
        # mask of four axes is added to the attention scores as it is, which saves the graph the
        # dozen operators that transformers builds it with.
        hidden = (1.0 - attention_mask[:, None, None, :].to(self.model.dtype)) * torch.finfo(
            self.model.dtype
        ).min
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=hidden).logits
        return logits


def export_graph(classifier: Any, pad_token_id: int) -> ir.Model:
    """Traces a sequence classifier to ONNX.

    Args:
        classifier: Hugging Face model, fp32, loaded with the attention implementation ``eager``.
        pad_token_id: the id that fills short rows.

    Returns:
        A graph from int64 input_ids and attention_mask, both (batch, sequence), to float32 logits
        (batch, labels); weights inside, nothing unused.
    """
    width = max(_EXAMPLE_LENGTHS)
    mask = torch.tensor([[int(i < length) for i in range(width)] for length in _EXAMPLE_LENGTHS])
    ids = torch.where(mask.bool(), (torch.arange(width) + pad_token_id) % 50 + 1, pad_token_id)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            _LogitsOnly(classifier).eval(),
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
    select_first(model.graph)
    clean(model)
    return model


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
