"""`labelmill up`: everything on this machine until ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelmill.client.cli import options, output
from labelmill.client.cli.installed import check_stack
from labelmill.errors import CancelledError, InvalidArgumentError
from labelmill.names import engine_choices, engine_family
from labelmill.settings import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from labelmill.client.local.stack import LocalStack, Ready

_DEFAULT_PORT = 50051

_INTERRUPTED = 130

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="LABELMILL_DATA_DIR",
        file_okay=False,
        help="Valkey's files, models and logs; `labelmill up` makes it.",
    ),
]


def up(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the server; 0 takes a free one.")
    ] = _DEFAULT_PORT,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Workers; they share the cores.")] = 1,
    redis_url: Annotated[
        str | None,
        typer.Option(
            envvar="LABELMILL_REDIS_URL",
            help="Redis or Valkey to use instead of an embedded one.",
        ),
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            help="Engines of the workers, e.g. onnx,torch; by default those installed.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Start Valkey, the server and workers; ctrl-C ends them in order.

    Everything is kept in the data directory: the next `labelmill up` there goes on where this one
    ended.
    """
    check_stack()
    from labelmill.client.local.stack import LocalStack, StackOptions

    ending = threading.Event()
    _end_on_signals(ending)
    stack_options = StackOptions(
        data_dir=data_dir,
        port=port,
        workers=workers,
        engines=_families(engines) if engines else _installed_families(),
        redis_url=redis_url,
    )
    output.note(f"starting in {data_dir} ...")
    with LocalStack(stack_options, output.note, ending) as stack:
        try:
            ready = stack.start()
        except CancelledError:
            return _INTERRUPTED
        _announce(ready, stack, json)
        stack.watch()
        output.note("draining: calls and work under way are finished first (ctrl-C again: at once)")
    output.note("down; everything is kept")
    return 0


def _end_on_signals(ending: threading.Event) -> None:
    def end(*_: Any) -> None:
        if ending.is_set():
            # The kernel ends the children with this process; leases bring their work back.
            os._exit(_INTERRUPTED)
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _families(engines: str) -> tuple[str, ...]:
    names = [name.strip() for name in engines.split(",") if name.strip()]
    if not names:
        raise InvalidArgumentError.at("engines", "names none; give e.g. onnx,torch")
    return tuple(dict.fromkeys(engine_family(engine_choices(n, "engines")[0]) for n in names))


def _installed_families() -> tuple[str, ...]:
    torch = ("torch",) if find_spec("torch") and find_spec("transformers") else ()
    return ("onnx", *torch, *(("openvino",) if find_spec("openvino") else ()))


def _announce(ready: Ready, stack: LocalStack, as_json: bool) -> None:
    if as_json:
        output.document(
            {
                "address": ready.address,
                "redis_url": ready.redis_url,
                "redis": ready.redis_version,
                "registry": str(ready.registry),
                "logs": str(ready.log_dir),
                "workers": ready.workers,
                "pid": os.getpid(),
                "pids": stack.pids(),
            }
        )
        sys.stdout.flush()
        return
    workers = "1 worker" if ready.workers == 1 else f"{ready.workers} workers"
    output.show(
        f"labelmill is up on {ready.address} "
        f"(model registry {ready.registry}, {workers}, {ready.redis_version})"
    )
    sys.stdout.flush()
    here = "" if ready.address.endswith(f":{_DEFAULT_PORT}") else f" --address {ready.address}"
    output.note(f"logs: {ready.log_dir}. Next, in another terminal:")
    output.note(f"  labelmill train examples/reviews.csv --name reviews{here}")
    output.note(f'  labelmill classify "What a lovely surprise." --model reviews{here}')
