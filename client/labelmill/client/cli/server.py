"""`labelmill server` and `labelmill worker`: become one process of the service.

Owns no setting: the options are the fields of labelmill.settings, given on as LABELMILL_*
environment variables, so a value is checked in one place however it was given.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from labelmill.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
from labelmill.settings import ServerSettings, Settings, WorkerSettings

#: Extra → a module of each package that it brings and the process cannot do without.
_NEEDS = {
    "server": ("redis", "zstandard", "grpc_health", "grpc_reflection", "prometheus_client"),
    "worker": ("redis", "zstandard", "numpy", "onnxruntime", "tokenizers"),
}


def check_extra(extra: str) -> None:
    """Raises FailedPreconditionError when the extra, ``server`` or ``worker``, is not installed."""
    missing = [name for name in _NEEDS[extra] if find_spec(name) is None]
    if missing:
        raise FailedPreconditionError(
            f"labelmill {extra} needs packages that are not installed ({', '.join(missing)}); "
            f"pip install 'labelmill[{extra}]'"
        )


def environment(settings: type[Settings], given: dict[str, Any]) -> dict[str, str]:
    """LABELMILL_* variables for the options `given`; raises InvalidArgumentError naming the option.

    Variables that were set before are among `given`: every option reads its own.
    """
    try:
        checked = _only_given(settings)(**given)
    except ValidationError as error:
        problems = [
            FieldViolation(
                f"--{_option(p['loc'])}",
                f"{p['msg'].replace('Input should', 'should')}, not {p['input']!r}",
            )
            for p in error.errors()
        ]
        raise InvalidArgumentError(
            "; ".join(f"{field}: {text}" for field, text in problems), violations=problems
        ) from error
    values = to_jsonable_python({name: getattr(checked, name) for name in given})
    return {f"LABELMILL_{name.upper()}": _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _only_given(settings: type[Settings]) -> type[Settings]:
    """`settings`, but blind to the environment."""

    class OnlyGiven(settings):  # type: ignore[misc, valid-type]
        @classmethod
        def settings_customise_sources(
            cls, _settings: type[Settings], init_settings: Any, **_: Any
        ) -> tuple[Any, ...]:
            return (init_settings,)

    return OnlyGiven


def _option(location: tuple[int | str, ...]) -> str:
    return str(location[0]).replace("_", "-") if location else "options"


def _command(name: str, settings: type[Settings], summary: str) -> Callable[..., None]:
    """A command with an option for every field of `settings`: ``python -m labelmill.<name>``."""

    def run(**given: Any) -> None:
        check_extra(name)
        chosen = {field: value for field, value in given.items() if value is not None}
        variables = environment(settings, chosen)
        sys.stdout.flush()
        os.execve(  # noqa: S606 - the interpreter that runs this very command
            sys.executable,
            [sys.executable, "-m", f"labelmill.{name}"],
            {**os.environ, **variables},
        )

    run.__doc__ = summary
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                field,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    str | None,
                    typer.Option(
                        f"--{field.replace('_', '-')}",
                        envvar=f"LABELMILL_{field.upper()}",
                        help=f"{info.description} Default: {_default(info)}.",
                        show_default=False,
                    ),
                ],
            )
            for field, info in settings.model_fields.items()
        ]
    )
    return run


def _default(info: Any) -> str:
    if info.default_factory is not None:
        return "host name and process id"
    if isinstance(info.default, list):
        return ",".join(info.default)
    return str(info.default)


server = _command("server", ServerSettings, "Run one gRPC server; any number may share one Redis.")
worker = _command("worker", WorkerSettings, "Run one worker; start more to score faster.")
