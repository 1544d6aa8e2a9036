"""`labelmill bench`: how fast, and how right, side by side."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from labelmill.client.bench import offline as benchmark
from labelmill.client.bench.page.document import render
from labelmill.client.cli import comparison, options, output, page_file
from labelmill.client.cli.command_line import command_line
from labelmill.client.cli.installed import check_everything
from labelmill.client.cli.up import DataDir
from labelmill.client.examples import example_reviews
from labelmill.client.local.lock import running
from labelmill.errors import InvalidArgumentError
from labelmill.settings import DEFAULT_DATA_DIR

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def bench() -> None:
    """Measure speed and accuracy, engines side by side."""


@app.command()
def offline(
    context: typer.Context,
    model: options.ModelRef,
    data: Annotated[
        Path | None,
        typer.Option(
            help="CSV, JSONL, Parquet or a text a line; the test split of the version by default.",
        ),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    label_column: Annotated[
        str, typer.Option(help="Column with the true label; it may be absent.")
    ] = "label",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Texts, taken evenly from all; all by default.")
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            help="Engines of labelmill to compare with the usual ways, e.g. onnx-int8,torch."
        ),
    ] = None,
    contenders: Annotated[
        str | None,
        typer.Option(help="Exactly these, e.g. hf-pipeline-fp32,onnx-int8; instead of --engines."),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of each contender, and cores it is kept on.")
    ] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, taken in turn.")] = 3,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    registry: Annotated[
        Path | None,
        typer.Option(
            envvar="LABELMILL_REGISTRY",
            help="Where models are; in the data directory by default.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with plots to this file.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare engines on the same texts and threads; no server is needed.

    Every contender runs in a process of its own. docs/performance.md says how each figure is
    measured.
    """
    chosen = benchmark.choose(engines, contenders)
    if html:
        page_file.check(html, "--html")
    check_everything()
    state = running(data_dir)
    with _status(json) as notify:
        result = benchmark.run(
            benchmark.Offline(
                model=model,
                registry=registry or data_dir / "registry",
                contenders=chosen,
                data=data,
                fallback=example_reviews(),
                text_column=text_column,
                label_column=label_column,
                limit=limit,
                threads=threads,
                rounds=rounds,
                redis_url=state["redis_url"] if state else None,
            ),
            notify,
        )
    result = output.plain({**result, "command": command_line(context)})
    if json:
        output.document(result)
    else:
        comparison.show(result)
    if html:
        page_file.write(html, render(result))


@app.command()
def page(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="What `bench offline --json` printed.")
    ],
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; RUN with the ending .html by default."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make the page with plots of an earlier run; nothing is measured."""
    path = target or run.with_suffix(".html")
    page_file.check(path, "--output")
    if path.resolve() == run.resolve():
        raise InvalidArgumentError.at("--output", "is RUN itself; name another file")
    made = render(_read(run))
    if json:
        output.document({"page": str(path)})
    page_file.write(path, made)


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _read(path: Path) -> Any:
    try:
        return json_format.loads(path.read_bytes(), parse_constant=_no_number)
    except FileNotFoundError as error:
        raise InvalidArgumentError.at("run", f"there is no file {path}") from error
    except OSError as error:
        raise InvalidArgumentError.at("run", f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidArgumentError.at("run", f"{path} is not JSON ({error})") from error


@contextmanager
def _status(as_json: bool) -> Iterator[Callable[[str], None]]:
    """One line on a terminal that says what is measured now; nothing elsewhere."""
    if as_json or not output.stderr.is_terminal:
        yield lambda _: None
        return
    with output.stderr.status("starting") as status:
        yield status.update
