"""`labelmill score`: a whole file through a scoring job, in order, with flat memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from labelmill.client.cli import options, output
from labelmill.client.cli.table.formats import Format, format_of, import_parquet
from labelmill.client.cli.table.reader import Table
from labelmill.client.cli.table.run import Run
from labelmill.client.cli.table.sink import Sink
from labelmill.errors import InvalidArgumentError

#: Exit code of a run in which some texts could not be scored.
SOME_FAILED = 3


def score(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="File of texts: csv, jsonl, parquet or txt.")
    ],
    target: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: csv, jsonl, parquet or txt.")
    ],
    model: options.ModelRef,
    text_column: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    id_column: Annotated[
        str | None, typer.Option(help="Column with an id; the row number from 0 by default.")
    ] = None,
    engine: options.Engine = None,
    threshold: options.Threshold = None,
    long_text: options.LongText = "truncate",
    priority: Annotated[
        Literal["low", "normal", "high"], typer.Option(help="Share against other jobs.")
    ] = "normal",
    input_format: Annotated[
        Format | None, typer.Option(help="Of INPUT, when its extension does not say.")
    ] = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Of the output; by its extension otherwise.")
    ] = None,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Score every text of INPUT and write id, text, label, score and error in input order.

    After Ctrl-C or a lost server the same command goes on where it was. Exit code 3 means that
    some texts could not be scored; their rows say why.
    """
    table = Table(source, text_column=text_column, id_column=id_column, file_format=input_format)
    if target.resolve() == source.resolve():
        raise InvalidArgumentError.at("--output", "is the input; name another file")
    file_format = output_format or format_of(target, "--output", "--format")
    if file_format is Format.PARQUET:
        import_parquet()
    request = {
        "input": table.fingerprint(),
        "format": file_format,
        "model": model,
        "engine": engine,
        "threshold": threshold,
        "long_text": long_text,
    }
    with options.connect(address, timeout) as client, Sink(target, file_format) as sink:
        run = Run(client, table, sink, request, send_ids=id_column is not None)
        job, checkpoint = run.continued() or run.created(
            model=model,
            engine=engine,
            threshold=threshold,
            long_text=options.long_text_policy(long_text),
            priority=priority,
            display_name=source.name,
        )
        job, seconds, rows = run.finish(job, checkpoint)
    rate = rows / seconds if seconds else 0.0
    if json:
        output.document(
            {
                "job": job.id,
                "model": job.model,
                "version": job.version,
                "engine": job.engine,
                "output": str(target),
                "total": job.total,
                "succeeded": job.succeeded,
                "failed": job.failed,
                "seconds": seconds,
                "texts_per_second": rate,
            }
        )
    failed = f", {job.failed:,} failed (see the error column)" if job.failed else ""
    output.note(
        f"{job.succeeded:,} of {job.total:,} texts scored{failed} by {job.model}@{job.version} on "
        f"{job.engine} in {seconds:.1f} s ({rate:,.0f} texts/s); {target}"
    )
    if job.failed:
        raise typer.Exit(SOME_FAILED)
