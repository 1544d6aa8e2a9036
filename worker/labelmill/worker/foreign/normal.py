"""Brings a foreign checkpoint into the form of one trained here: one fp32 file and tokenizer.json.

Loads what transformers itself would load for a pipeline, and refuses what it would have to guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from labelmill.errors import InvalidArgumentError
from labelmill.registry.manifest import TOKENIZER_FILE
from labelmill.worker.foreign.request import SOURCE
from labelmill.worker.foreign.source import Source
from labelmill.worker.tokenizer import Tokenizer

#: Tokens a text by default, at most: what checkpoints are usually fine-tuned with.
DEFAULT_TOKENS = 512

#: Tokens a text that an import may ask for, at least.
LEAST_TOKENS = 8

#: No checkpoint is split again when it is saved.
_ONE_FILE = "1000GB"

_TOKENIZER_REMEDY = (
    "add the files that the tokenizer's save_pretrained writes, tokenizer.json and "
    "tokenizer_config.json"
)

#: What transformers raises for a checkpoint that does not fit its own description.
_UNLOADABLE = (
    OSError,
    SafetensorError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
)


@dataclass(frozen=True)
class Normal:
    """A checkpoint as export wants it."""

    #: config.json, model.safetensors and tokenizer.json.
    folder: Path
    pad_token_id: int
    max_length: int
    warnings: list[str]


def normalize(source: Source, folder: Path, max_length: int | None) -> Normal:
    """Loads `source` and writes it to `folder`.

    Args:
        source: a directory that was looked over.
        folder: to fill.
        max_length: tokens a text as asked for; None takes what the checkpoint reads, at most 512.

    Raises:
        InvalidArgumentError: weights or tokenizer cannot be loaded or do not belong together;
            `max_length` is more than the checkpoint reads.
    """
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = _load_tokenizer(source)
    model, warnings = _load_model(source)
    _check_vocabulary(source, tokenizer, model)
    length = _length(source, int(tokenizer.model_max_length), max_length)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    if tokenizer.truncation_side != "right":
        warnings.append(
            "The checkpoint's tokenizer cuts long texts at their beginning; here they are cut at "
            "their end."
        )
    tokenizer.save_pretrained(folder)
    if not (folder / TOKENIZER_FILE).is_file():
        raise _error(
            f"its tokenizer, a {type(tokenizer).__name__}, cannot be saved as {TOKENIZER_FILE}; "
            "give a checkpoint with a fast tokenizer"
        )
    model.save_pretrained(folder, max_shard_size=_ONE_FILE)
    return Normal(folder, int(model.config.pad_token_id), length, warnings)


def differing_texts(source: Source, normal: Normal, texts: Sequence[str]) -> int:
    """How many of `texts` the source's own tokenizer.json reads otherwise than transformers does.

    transformers rebuilds the tokenizers of some architectures from tokenizer_config.json, e.g. with
    lower-casing, and so does everyone who serves the checkpoint with it.
    """
    original = source.checkpoint.folder / TOKENIZER_FILE
    if not original.is_file():
        return 0
    ours = Tokenizer(normal.folder / TOKENIZER_FILE, normal.max_length).encode(texts)
    theirs = Tokenizer(original, normal.max_length).encode(texts)
    return sum(a.ids != b.ids for a, b in zip(ours, theirs, strict=True))


def _load_tokenizer(source: Source) -> Any:
    folder = source.checkpoint.folder
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        # The Rust library raises bare Exceptions.
        raise _error(
            f"its tokenizer cannot be loaded ({_first_line(error)}); {_TOKENIZER_REMEDY}"
        ) from error
    # Where these are missing, transformers makes up a vocabulary of special tokens alone.
    others = [
        name for kind, name in tokenizer.vocab_files_names.items() if kind != "tokenizer_file"
    ]
    whole = (folder / TOKENIZER_FILE).is_file()
    missing = [name for name in others if not (folder / name).is_file()]
    if not whole and missing:
        raise _error(
            f"{folder} has no tokenizer, neither {TOKENIZER_FILE} nor {' and '.join(missing)}; "
            + _TOKENIZER_REMEDY
        )
    return tokenizer


def _load_model(source: Source) -> tuple[Any, list[str]]:
    folder = source.checkpoint.folder
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            str(folder),
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except _UNLOADABLE as error:
        raise _error(
            f"its weights cannot be loaded ({_first_line(error)}); download or save the "
            "checkpoint again"
        ) from error
    _check_weights(source, loading)
    names = [model.config.id2label[number] for number in range(model.config.num_labels)]
    if [str(name) for name in names] != source.labels:
        raise _error(f"transformers reads its labels as {names}, not as {source.labels}")
    model.config.id2label = dict(enumerate(source.labels))
    model.config.label2id = {name: number for number, name in enumerate(source.labels)}
    warnings = []
    if unused := sorted(loading["unexpected_keys"]):
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        warnings.append(
            f"The checkpoint has weights that a {type(model).__name__} does not use: "
            f"{', '.join(unused[:3])}{more}."
        )
    return model.eval(), warnings


def _check_weights(source: Source, loading: dict[str, Any]) -> None:
    count = len(source.labels)
    for name, stored, expected in sorted(loading["mismatched_keys"]):
        if expected[0] == count and stored[0] != count:
            raise _error(
                f"config.json names {count} labels, but the weights have {stored[0]} outputs "
                f"({name}); mend id2label in its config.json"
            )
        raise _error(
            f"config.json and weights do not belong together: {name} is {tuple(stored)}, not "
            f"{tuple(expected)}"
        )
    if missing := sorted(loading["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise _error(
            f"it lacks the weights {', '.join(missing[:3])}{more}, so it is no trained classifier; "
            "train one with it as base model (labelmill train --base)"
        )


def _check_vocabulary(source: Source, tokenizer: Any, model: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    highest = max(tokenizer.get_vocab().values(), default=0)
    if highest >= rows:
        raise _error(
            f"its tokenizer has ids up to {highest}, its table of words only {rows} rows: they do "
            f"not belong together; put the tokenizer that the checkpoint was trained with into "
            f"{source.checkpoint.folder}"
        )


def _length(source: Source, of_tokenizer: int, asked: int | None) -> int:
    reads = source.checkpoint.max_tokens
    if asked is None:
        # A tokenizer that knows no bound says so with a number far beyond any.
        return min(reads, of_tokenizer, DEFAULT_TOKENS)
    if not LEAST_TOKENS <= asked <= reads:
        raise InvalidArgumentError.at(
            "max_length", f"is {asked}; the checkpoint reads {LEAST_TOKENS} to {reads} tokens"
        )
    return asked


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _error(description: str) -> InvalidArgumentError:
    return InvalidArgumentError.at(SOURCE, description)
