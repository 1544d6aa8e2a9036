"""`labelmill doctor`: what this machine can do, and what is wrong."""

from __future__ import annotations

import json as jsonlib
import platform
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from labelmill.client.cli import options, output
from labelmill.client.cli.up import DataDir
from labelmill.client.local.lock import State, running
from labelmill.errors import InternalError, LabelmillError
from labelmill.settings import DEFAULT_DATA_DIR

#: Seconds that the server gets to answer.
_SERVER_TIMEOUT_S = 5.0

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class Where(NamedTuple):
    """What to look at; None leaves it out."""

    address: str | None
    redis_url: str | None
    registry: Path


def doctor(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    redis_url: Annotated[
        str | None,
        typer.Option(
            envvar="LABELMILL_REDIS_URL",
            help="Redis to look at; that of the running `labelmill up` by default.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="LABELMILL_ADDRESS",
            help="Server to look at; that of the running `labelmill up` by default.",
        ),
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(
            envvar="LABELMILL_REGISTRY",
            help="Models to look at; those of the data directory by default.",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Check CPU, libraries, Redis, server, workers and the files of every model.

    Exits with 1 when something is broken; a warning alone is no failure.
    """
    state = running(data_dir)
    where = Where(
        address or (state["address"] if state else None),
        redis_url or (state["redis_url"] if state else None),
        registry or data_dir / "registry",
    )
    checks = [_python(), _up(data_dir, state), *_worker_checks(where), *_server(where.address)]
    failed = any(check["status"] == "fail" for check in checks)
    if json:
        output.document({"ok": not failed, "checks": checks})
    else:
        _show(checks)
    return 1 if failed else 0


def _check(name: str, status: str, detail: str, remedy: str = "") -> dict[str, str]:
    return {"name": name, "status": status, "detail": detail, "remedy": remedy}


def _python() -> dict[str, str]:
    return _check(
        "labelmill", "ok", f"{version('labelmill')} on Python {platform.python_version()}"
    )


def _up(data_dir: Path, state: State | None) -> dict[str, str]:
    if state is None:
        return _check("up", "ok", f"no `labelmill up` runs on {data_dir}")
    return _check("up", "ok", f"runs on {data_dir} as process {state['pid']}")


def _server(address: str | None) -> list[dict[str, str]]:
    if address is None:
        return [_check("server", "warn", "none was looked at", "run `labelmill up`, or --address")]
    try:
        with options.connect(address, _SERVER_TIMEOUT_S) as client:
            models = list(client.list_models())
    except LabelmillError as error:
        remedy = "start it with `labelmill up` or `labelmill server`"
        return [_check("server", "fail", f"{address}: {error.message}", remedy)]
    names = ", ".join(model.name for model in models) or "no model yet"
    return [_check("server", "ok", f"{address} answers; models: {names}")]


def _worker_checks(where: Where) -> list[dict[str, str]]:
    """The checks that need the worker's libraries, in a process that loads them."""
    if find_spec("onnxruntime") is None or find_spec("redis") is None:
        remedy = "pip install 'labelmill[worker]' to check CPU, Redis and models here"
        return [_check("worker", "warn", "this is a light installation", remedy)]
    command = [sys.executable, "-m", "labelmill.worker.doctor", "--registry", str(where.registry)]
    if where.redis_url:
        command += ["--redis-url", where.redis_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = jsonlib.loads(done.stdout)
    except ValueError:
        words = done.stderr.strip()[-800:]
        raise InternalError(f"the checks ended with {done.returncode}: {words}") from None
    checks: list[dict[str, str]] = answer["checks"]
    return checks


def _show(checks: list[dict[str, str]]) -> None:
    table = output.table("", "check", "found")
    for check in checks:
        status = Text(check["status"], _STYLES[check["status"]])
        remedy = f"\n→ {check['remedy']}" if check["remedy"] else ""
        table.add_row(status, check["name"], f"{check['detail']}{remedy}")
    output.show(table)
