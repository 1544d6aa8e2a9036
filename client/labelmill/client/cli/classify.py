"""`labelmill classify`: a few texts, now."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from labelmill.client import Classification
from labelmill.client.cli import options, output
from labelmill.errors import InvalidArgumentError


def classify(
    texts: Annotated[
        list[str], typer.Argument(metavar="TEXT...", help="Texts; - reads one a line from stdin.")
    ],
    model: options.ModelRef,
    engine: options.Engine = None,
    top_k: options.TopK = 0,
    threshold: options.Threshold = None,
    long_text: options.LongText = "truncate",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Classify up to 256 texts and print label and score of each."""
    texts = [line for text in texts for line in (_stdin_lines() if text == "-" else [text])]
    with options.connect(address, timeout) as client:
        answer = client.classify(
            texts,
            model=model,
            engine=engine,
            top_k=top_k,
            threshold=threshold,
            long_text=options.long_text_policy(long_text),
        )
    if json:
        output.document(answer)
    else:
        _show(texts, answer)


def _stdin_lines() -> list[str]:
    try:
        return sys.stdin.buffer.read().decode().splitlines()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError.at(
            "stdin", f"byte {error.start} is not UTF-8; convert the text first"
        ) from None


def _show(texts: list[str], answer: Classification) -> None:
    table = output.table("label", ">score", "text")
    for text, result in zip(texts, answer.results, strict=True):
        shown = f"{text} [truncated]" if result.truncated else text
        if result.error is not None:
            table.add_row(result.error.reason, "", f"{shown} ({result.error.message})")
        else:
            table.add_row(result.label, f"{result.score:.3f}", shown)
    output.show(table)
    output.note(
        f"{answer.model}@{answer.version} on {answer.engine}: queue {answer.queue_ms:.1f} ms, "
        f"tokenize {answer.tokenize_ms:.1f} ms, inference {answer.inference_ms:.1f} ms"
    )
