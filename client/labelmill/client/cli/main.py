"""The root of the command line: finds the command, runs it, turns errors into lines and exit codes.

A command's module is imported only when the command is called, so that `labelmill --help` and the
light installation need none of the extras. A module offers either `app`, a `typer.Typer`, or a
function with the command's name.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 done but some texts failed (`score`),
130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from labelmill.client.cli.output import report_error, report_problem
from labelmill.errors import InvalidArgumentError, LabelmillError

USAGE_ERROR = 2


class Entry(NamedTuple):
    """A command: the module below `labelmill.client.cli` and its line in the help."""

    module: str
    help: str


COMMANDS: dict[str, Entry] = {
    "up": Entry("up", "Start everything on this machine: Valkey, the server and workers."),
    "demo": Entry("demo", "Take the whole tour on the example reviews."),
    "train": Entry("train", "Train a model on a file of labelled texts."),
    "classify": Entry("classify", "Classify a few texts now."),
    "score": Entry("score", "Score a whole file, in order, resumable."),
    "jobs": Entry("jobs", "List, watch and steer scoring and training jobs."),
    "models": Entry("models", "List models and versions, move aliases, import."),
    "bench": Entry("bench", "Measure speed and accuracy, engines side by side."),
    "doctor": Entry("doctor", "Check CPU, Redis and the models' self-tests."),
    "server": Entry("server", "Run one gRPC server, for production."),
    "worker": Entry("server", "Run one worker, for production."),
}


class LazyGroup(TyperGroup):
    """Knows every command's name and help, and imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._listing = False
        self.commands = {
            name: TyperCommand(name, help=entry.help) for name, entry in COMMANDS.items()
        }

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Lists the commands without importing them."""
        self._listing = True
        super().format_help(ctx, formatter)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, or its line in the help while that is printed."""
        listed = super().get_command(ctx, cmd_name)
        return listed if listed is None or self._listing else load(cmd_name)


def load(name: str) -> Any:
    """Imports the command `name`."""
    module = import_module(f"labelmill.client.cli.{COMMANDS[name].module}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False)
        group.command(name=name)(getattr(module, name))
    command = typer.main.get_command(group)
    command.name = name
    # Here and not at the root, so that a LABELMILL_VERSION in the environment means nothing.
    command.context_settings["auto_envvar_prefix"] = f"LABELMILL_{name.upper()}"
    return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"labelmill {metadata.version('labelmill')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Text classification as a service: train, prove an INT8 model, serve it, score in bulk."""


def run(args: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; errors become lines on stderr."""
    as_json = _wants_json(args)
    try:
        code = typer.main.get_command(app).main(
            list(args), prog_name="labelmill", standalone_mode=False
        )
        sys.stdout.flush()
    except LabelmillError as error:
        if _debug():
            traceback.print_exc()
        report_error(error, as_json=as_json)
        return USAGE_ERROR if isinstance(error, InvalidArgumentError) else 1
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        if not error.format_message() and hasattr(error, "show"):
            error.show()
        else:
            report_problem("USAGE", error.format_message(), as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last stop before a user would see a traceback
        if _debug():
            traceback.print_exc()
        report_problem(
            "INTERNAL",
            f"{type(error).__name__}: {error}; this is a defect, LABELMILL_DEBUG=1 shows where",
            as_json=as_json,
        )
        return 1
    return code if isinstance(code, int) else 0


def _wants_json(args: Sequence[str]) -> bool:
    options = args[: args.index("--")] if "--" in args else args
    return "--json" in options or os.environ.get("LABELMILL_JSON", "").lower() in ("1", "true")


def _debug() -> bool:
    return os.environ.get("LABELMILL_DEBUG") == "1"


def main() -> None:
    """The entry point of the `labelmill` script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
