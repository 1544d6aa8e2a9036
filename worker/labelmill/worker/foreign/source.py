"""Looks a foreign directory over before anything of it is loaded. Reads JSON and headers only."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelmill.errors import InvalidArgumentError
from labelmill.worker.checkpoint import Checkpoint, read_checkpoint
from labelmill.worker.export.decisions import ProblemType
from labelmill.worker.foreign.labels import Labels, read_labels
from labelmill.worker.foreign.request import SOURCE

_ADAPTER_FILE = "adapter_config.json"

#: Files whose `auto_map` would name code of the checkpoint's own.
_CONFIGS = ("config.json", "tokenizer_config.json")

#: How classes of whole-text classifiers end.
_CLASS = "ForSequenceClassification"

_PROBLEM_TYPES: dict[str | None, ProblemType] = {
    # What the Hugging Face pipeline takes it for as well.
    None: "single_label",
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
}


@dataclass(frozen=True)
class Source:
    """A foreign checkpoint that may be loaded."""

    checkpoint: Checkpoint
    #: In the order of the logits.
    labels: list[str]
    problem_type: ProblemType
    warnings: list[str]

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels."""
        return self.problem_type == "multi_label"

    def facts(self) -> dict[str, Any]:
        """For the report."""
        config = self.checkpoint.config
        return {
            "directory": str(self.checkpoint.folder),
            "architectures": config.get("architectures"),
            "transformers_version": config.get("transformers_version"),
            "weights": [file.name for file in self.checkpoint.weights],
            "problem_type": config.get("problem_type"),
        }


def read_source(folder: Path) -> Source:
    """Checks `folder`.

    Raises:
        InvalidArgumentError: this worker does not see it, or it holds no whole-text classifier in
            safetensors that runs without code of its own; names ``source_directory``.
    """
    try:
        return _read(folder)
    except OSError as error:
        raise _error(
            f"{error.filename or folder} cannot be read by the worker on {socket.gethostname()} "
            f"({error.strerror}); give its user the right to"
        ) from error


def _read(folder: Path) -> Source:
    _check_directory(folder)
    if (folder / _ADAPTER_FILE).is_file():
        raise _error(
            f"{folder} holds an adapter ({_ADAPTER_FILE}), not a whole model; merge it into its "
            "base with merge_and_unload() and save the result with save_pretrained"
        )
    checkpoint = read_checkpoint(folder, SOURCE)
    _check_code(folder)
    _check_kind(checkpoint)
    problem_type = _problem_type(checkpoint.config)
    labels: Labels = read_labels(checkpoint.config, multi_label=problem_type == "multi_label")
    return Source(checkpoint, labels.names, problem_type, labels.warnings)


def _check_directory(folder: Path) -> None:
    if folder.is_dir():
        return
    host = socket.gethostname()
    if folder.exists():
        raise _error(f"{folder} is no directory on the worker's machine, {host}; name a directory")
    raise _error(
        f"there is no {folder} on the machine of the worker that took the import, {host}; put the "
        "checkpoint where every worker that trains sees it under this path"
    )


def _check_code(folder: Path) -> None:
    for name in _CONFIGS:
        file = folder / name
        if not file.is_file():
            continue
        try:
            config = json.loads(file.read_bytes())
        except ValueError as error:
            raise _error(f"{file} is not JSON ({error})") from error
        if isinstance(config, dict) and config.get("auto_map"):
            raise _error(
                f"{file} names code of its own (auto_map), which labelmill never runs; use a "
                "checkpoint of an architecture that transformers has itself"
            )


def _check_kind(checkpoint: Checkpoint) -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as KNOWN,
    )

    config, kind = checkpoint.config, checkpoint.architecture
    if kind not in KNOWN or config.get("is_encoder_decoder"):
        raise _error(
            f"{checkpoint.folder} is a model of type {kind!r}; use a classifier on an encoder of "
            "the BERT family, e.g. bert, distilbert, roberta, electra or xlm-roberta"
        )
    named = config.get("architectures") or []
    if named and not any(str(name).endswith(_CLASS) for name in named):
        raise _error(
            f"{checkpoint.folder} holds a {named[0]}, which does not classify whole texts; give a "
            f"...{_CLASS}, or train one with it as base model (labelmill train --base)"
        )
    if config.get("quantization_config"):
        raise _error(
            f"{checkpoint.folder} holds weights that are quantized already; give the fp32, fp16 or "
            "bf16 checkpoint that they were made from"
        )


def _problem_type(config: dict[str, Any]) -> ProblemType:
    given = config.get("problem_type")
    if given == "regression":
        raise _error(
            "its problem_type is regression: it predicts a number and not a label; labelmill "
            "serves classifiers"
        )
    if given not in _PROBLEM_TYPES:
        raise _error(
            f"its problem_type is {given!r}; use single_label_classification or "
            "multi_label_classification"
        )
    return _PROBLEM_TYPES[given]


def _error(description: str) -> InvalidArgumentError:
    return InvalidArgumentError.at(SOURCE, description)
