"""How much one token costs a model: the multiply-accumulates of its linear layers."""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Any

from labelmill.registry.manifest import TORCH_DIR

#: A tensor of one of the repeated layers, in BERT, DistilBERT, RoBERTa and their kin.
_LAYER = re.compile(r"\blayers?\.\d+\.")

#: Bytes before the header of a safetensors file: its length, little-endian.
_LENGTH_BYTES = 8


def macs_per_token(version_folder: Path) -> int:
    """Multiply-accumulates that every token costs in the linear layers of the encoder.

    One for each weight of their matrices. Attention products, which grow with the length, and the
    head, which runs once a text, are left out. 0 for a version without its checkpoint.
    """
    file = version_folder / TORCH_DIR / "model.safetensors"
    if not file.is_file():
        return 0
    tensors = _header(file)
    shapes = [tensor["shape"] for name, tensor in tensors.items() if _LAYER.search(name)]
    return sum(prod(shape) for shape in shapes if len(shape) == 2)


def _header(file: Path) -> dict[str, Any]:
    """Name → dtype, shape and offsets; https://huggingface.co/docs/safetensors has the format."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        header: dict[str, Any] = json.loads(stream.read(length))
    return header
