"""Names users type: models, aliases, engines. Owns their grammar, not their meaning."""

from __future__ import annotations

import re
from typing import NamedTuple

from labelmill.errors import InvalidArgumentError

#: Alias that a bare model name means.
DEFAULT_ALIAS = "default"

#: Label returned when no score reaches the threshold.
UNKNOWN = "UNKNOWN"

#: What callers may ask for → the concrete engines it may become, best first.
ENGINE_CHOICES: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx-int8", "onnx-fp32"),
    "onnx-int8": ("onnx-int8",),
    "onnx-fp32": ("onnx-fp32",),
    "torch": ("torch-bf16", "torch-fp32"),
    "torch-fp32": ("torch-fp32",),
    "torch-bf16": ("torch-bf16",),
    "openvino": ("openvino-int8",),
    "openvino-int8": ("openvino-int8",),
}

DEFAULT_ENGINE = "onnx"

_MODEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class ModelRef(NamedTuple):
    """A parsed ``name[@alias|@version]``: either `alias` or `version` is set."""

    name: str
    alias: str | None
    version: int | None


def check_model_name(name: str, field: str = "model") -> str:
    """Returns `name`; raises InvalidArgumentError naming `field` when it breaks the grammar."""
    if not _MODEL.fullmatch(name):
        raise InvalidArgumentError.at(
            field,
            f"{name!r} is no model name; use 1 to 64 lower-case letters, digits, '-', '_' or '.', "
            "starting with a letter or digit",
        )
    return name


def check_alias(alias: str, field: str = "alias") -> str:
    """Returns `alias`; raises InvalidArgumentError naming `field` when it breaks the grammar."""
    if not _ALIAS.fullmatch(alias):
        raise InvalidArgumentError.at(
            field,
            f"{alias!r} is no alias; use lower-case letters, digits, '-' or '_', starting with "
            "a letter (numbers are versions)",
        )
    return alias


def parse_model_ref(text: str, field: str = "model") -> ModelRef:
    """Parses ``name``, ``name@alias`` or ``name@version``; raises InvalidArgumentError."""
    if not text:
        raise InvalidArgumentError.at(field, "is empty; name a model, e.g. 'reviews'")
    name, at, pointer = text.partition("@")
    check_model_name(name, field)
    if not at:
        return ModelRef(name, DEFAULT_ALIAS, None)
    if pointer.isascii() and pointer.isdigit():
        return ModelRef(name, None, int(pointer))
    return ModelRef(name, check_alias(pointer, field), None)


def engine_choices(engine: str, field: str = "engine") -> tuple[str, ...]:
    """Concrete engines that `engine` may become, best first; raises InvalidArgumentError."""
    choices = ENGINE_CHOICES.get(engine or DEFAULT_ENGINE)
    if choices is None:
        raise InvalidArgumentError.at(
            field, f"{engine!r} is no engine; use one of {', '.join(ENGINE_CHOICES)}"
        )
    return choices


def engine_family(engine: str) -> str:
    """``onnx-int8`` → ``onnx``: the pool of workers that can run it."""
    return engine.partition("-")[0]
