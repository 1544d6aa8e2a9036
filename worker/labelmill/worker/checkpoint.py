"""What a Hugging Face directory holds, by its names and headers alone.

Reads config.json and the headers of safetensors files: no weights, no code, no network. Whether a
checkpoint is fit for what is planned is the caller's matter.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from labelmill.errors import InvalidArgumentError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

#: Lists the files of weights that are split into several.
INDEX_FILE = "model.safetensors.index.json"

#: Model types whose positions start after the padding id, so that they hold fewer tokens.
_POSITIONS_AFTER_PADDING = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer"}

#: Tokens of a model that does not say how many it can read.
_USUAL_TOKENS = 512


@dataclass(frozen=True)
class Checkpoint:
    """A directory with a configuration and weights in safetensors."""

    folder: Path
    config: dict[str, Any]
    #: Hugging Face model type, e.g. ``bert``.
    architecture: str
    #: One file, or the parts of a split one.
    weights: list[Path]
    parameters: int
    #: Tokens that it can read at most.
    max_tokens: int


def read_checkpoint(folder: Path, field: str) -> Checkpoint:
    """Reads `folder`.

    Raises:
        InvalidArgumentError: no configuration, or weights that are missing, cut short or not in
            safetensors; names `field`.
    """
    return _Reader(folder, field).read()


class _Reader:
    def __init__(self, folder: Path, field: str) -> None:
        self._folder = folder
        self._field = field

    def read(self) -> Checkpoint:
        config = self._config()
        weights = self._weights()
        return Checkpoint(
            folder=self._folder,
            config=config,
            architecture=config["model_type"],
            weights=weights,
            parameters=sum(map(self._parameters, weights)),
            max_tokens=_max_tokens(config),
        )

    def _config(self) -> dict[str, Any]:
        file = self._folder / CONFIG_FILE
        if not file.is_file():
            raise self._error(
                f"{self._folder} holds no {CONFIG_FILE}; give a Hugging Face model directory"
            )
        try:
            config: dict[str, Any] = json.loads(file.read_bytes())
            known = isinstance(config["model_type"], str)
        except (ValueError, TypeError, KeyError):
            known = False
        if not known:
            raise self._error(f"{file} is no model configuration with a model_type")
        return config

    def _weights(self) -> list[Path]:
        whole, index = self._folder / WEIGHTS_FILE, self._folder / INDEX_FILE
        if whole.is_file():
            return [whole]
        if index.is_file():
            return self._parts(index)
        pickled = any(True for kind in ("*.bin", "*.pt", "*.ckpt") for _ in self._folder.glob(kind))
        found = "only pickled weights, which can run code when loaded" if pickled else "no weights"
        raise self._error(
            f"{self._folder} holds {found}; where you trust them, load the model and save it with "
            f"save_pretrained, which writes {WEIGHTS_FILE}"
        )

    def _parts(self, index: Path) -> list[Path]:
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
            inside = names and all(PurePosixPath(name).name == name for name in names)
        except (ValueError, TypeError, KeyError, AttributeError):
            inside = False
        if not inside:
            raise self._error(f"{index} does not say which files of the folder hold the weights")
        missing = [name for name in names if not (self._folder / name).is_file()]
        if missing:
            raise self._error(
                f"{self._folder} lacks {', '.join(missing[:3])}, which {INDEX_FILE} names; "
                "download all parts"
            )
        return [self._folder / name for name in names]

    def _parameters(self, weights: Path) -> int:
        """Parameters in a safetensors file, by its header: 8 bytes of length, then JSON."""
        try:
            with weights.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            return sum(math.prod(tensor["shape"]) for tensor in header.values())
        except (struct.error, ValueError, KeyError, OverflowError, MemoryError) as error:
            raise self._error(
                f"{weights} is no safetensors file; download or save the model again"
            ) from error

    def _error(self, description: str) -> InvalidArgumentError:
        return InvalidArgumentError.at(self._field, description)


def _max_tokens(config: dict[str, Any]) -> int:
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if not positions:
        return _USUAL_TOKENS
    if config["model_type"] in _POSITIONS_AFTER_PADDING:
        padding = config.get("pad_token_id")
        return int(positions) - (1 if padding is None else int(padding)) - 1
    return int(positions)
