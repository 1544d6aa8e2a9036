"""The command line that a command was given, as people can paste it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import typer

#: Where a value comes from when someone gave it.
_GIVEN = ("COMMANDLINE", "ENVIRONMENT")


def command_line(context: typer.Context) -> str:
    """The command with every option that was given, also those given as LABELMILL_* variables."""
    return " ".join([context.command_path, *_words(context)])


def _words(context: typer.Context) -> Iterator[str]:
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is None or source.name not in _GIVEN:
            continue
        value: Any = context.params[parameter.name or ""]
        if parameter.param_type_name == "argument":
            yield shlex.quote(str(value))
        elif isinstance(value, bool):
            names = parameter.opts if value else parameter.secondary_opts
            yield names[0]
        else:
            yield f"{parameter.opts[0]} {shlex.quote(str(value))}"
