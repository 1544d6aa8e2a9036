"""Options that several commands share; each is also an environment variable.

Options of one command only are LABELMILL_<COMMAND>_<OPTION>, e.g. LABELMILL_TRAIN_EPOCHS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import typer

from labelmill.client import Client, RetryPolicy
from labelmill.client._wire.target import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S

#: A command whose server is away says so after a second or two, not after the whole deadline.
_RETRY = RetryPolicy(max_attempts=6)

Address = Annotated[
    str,
    typer.Option("--address", envvar="LABELMILL_ADDRESS", help="host:port of the server."),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", envvar="LABELMILL_TIMEOUT", min=0.001, help="Seconds to wait for an answer."
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", envvar="LABELMILL_JSON", help="Print one JSON document on stdout."),
]
ModelRef = Annotated[
    str,
    typer.Option(
        "--model", "-m", envvar="LABELMILL_MODEL", help="name, name@alias or name@version."
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        envvar="LABELMILL_ENGINE",
        help="onnx, onnx-int8, onnx-fp32, torch, torch-fp32, torch-bf16 or openvino; the "
        "version's best by default.",
    ),
]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="Labels returned a text; 0 means all.")]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0,
        max=1,
        help="Score below which the label is UNKNOWN; the version's own by default, 0 for never.",
    ),
]
LongTextChoice = Literal["truncate", "reject", "sliding-window"]
LongText = Annotated[
    LongTextChoice,
    typer.Option("--long-text", help="What to do with texts over the model's max_length."),
]

ADDRESS = DEFAULT_ADDRESS
TIMEOUT_S = DEFAULT_TIMEOUT_S


@contextmanager
def connect(address: str, timeout_s: float = TIMEOUT_S) -> Iterator[Client]:
    """A client for one command, which Ctrl-C interrupts without harm to gRPC.

    Raises:
        InvalidArgumentError: `address` is none.
    """
    client = Client(address, timeout=timeout_s, retry=_RETRY)
    with client._transport.interrupts.installed(), client:
        yield client


def long_text_policy(choice: LongTextChoice) -> Any:
    """The library's name of the policy."""
    return choice.replace("-", "_")
