"""`labelmill models`: versions, their gates and reports, their aliases, and foreign checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelmill.client import Model, ModelVersion
from labelmill.client.cli import options, output
from labelmill.client.cli.calibration import read_calibration
from labelmill.client.cli.report import (
    figures_table,
    gates_table,
    import_summary,
    judged_by,
    report_path,
)
from labelmill.client.cli.train import follow, show_detached
from labelmill.names import check_model_name

app = typer.Typer(no_args_is_help=True, help="List models and versions, move aliases, import.")

Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
Ref = Annotated[str, typer.Argument(metavar="MODEL", help="name, name@alias or name@version.")]
Alias = Annotated[str, typer.Option("--alias", help="Alias to move.")]


@app.command("list")
def list_(
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """List all models with their aliases."""
    with options.connect(address, timeout) as client:
        models = list(client.list_models())
    if json:
        output.document({"models": models})
        return
    if not models:
        output.note("no models yet; train one with `labelmill train`")
    table = output.table("model", ">versions", ">latest", "aliases")
    for model in models:
        table.add_row(
            model.name, str(model.version_count), str(model.latest_version), _aliases(model)
        )
    output.show(table)


@app.command()
def show(
    model: Ref,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file and compare its checksum.")
    ] = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Show one version: labels, engines, figures, gates, files; and the model's other versions."""
    with options.connect(address, timeout) as client:
        version = client.get_version(model, verify=verify)
        of_model = client.get_model(version.model)
        versions = list(client.list_versions(version.model))
    if json:
        output.document({"model": of_model, "version": version, "versions": versions})
        return
    _show_version(version)
    others = output.table(">version", "created", "aliases", "accuracy", title="versions")
    for other in versions:
        accuracy = other.metrics.get("int8.accuracy", other.metrics.get("fp32.accuracy"))
        others.add_row(
            str(other.version),
            f"{other.created_at:%Y-%m-%d %H:%M}" if other.created_at else "",
            ", ".join(other.aliases),
            "" if accuracy is None else f"{accuracy:.3f}",
        )
    output.show(others)


def _show_version(version: ModelVersion) -> None:
    threshold = f"{version.threshold:.3f}" if version.threshold else "off"
    facts = output.table("", "", title=f"{version.model}@{version.version}")
    facts.show_header = False
    facts.add_row("labels", ", ".join(version.labels))
    facts.add_row("kind", "multi-label" if version.multi_label else "single-label")
    facts.add_row("base model", f"{version.base_model} ({version.architecture})")
    facts.add_row("max length", f"{version.max_length} tokens")
    facts.add_row("UNKNOWN below", threshold)
    facts.add_row("engines", ", ".join(version.engines))
    facts.add_row("aliases", ", ".join(version.aliases) or "none")
    facts.add_row("report", report_path(version))
    output.show(facts)
    if version.metrics:
        metrics = output.table("figure", ">value", title="test set")
        for name, value in sorted(version.metrics.items()):
            metrics.add_row(name, f"{value:.4f}")
        output.show(metrics)
    output.show(gates_table(version))
    files = output.table("file", ">bytes", "sha256", title="files")
    for artifact in version.artifacts:
        files.add_row(artifact.name, f"{artifact.size_bytes:,}", artifact.sha256[:16])
    output.show(files)


@app.command()
def alias(
    model: Name,
    alias: Annotated[str, typer.Argument(help="Alias to move, e.g. default or canary.")],
    version: Annotated[int, typer.Argument(min=1, help="Version it shall point at.")],
    etag: Annotated[
        str, typer.Option("--etag", help="Refuse when the aliases changed since this etag.")
    ] = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Point an alias at a version; `default` serves the bare model name."""
    with options.connect(address, timeout) as client:
        _print_model(client.set_alias(model, alias, version, etag=etag), json=json)


@app.command()
def rollback(
    model: Name,
    alias: Alias = "default",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Point an alias back at the version it had before."""
    with options.connect(address, timeout) as client:
        _print_model(client.rollback(model, alias=alias), json=json)


@app.command()
def delete(
    model: Name,
    version: Annotated[int, typer.Argument(min=1, help="Version to delete.")],
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Delete a version that no alias points at and no job uses."""
    with options.connect(address, timeout) as client:
        client.delete_version(model, version)
    if json:
        output.document({"model": model, "deleted_version": version})
    else:
        output.note(f"deleted {model}@{version}")


@app.command("import")
def import_(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Directory of the checkpoint, as the workers see it: on the worker's machine, or "
            "on a disk that all of them share.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Model the version will belong to.")],
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="CSV, JSONL, Parquet or txt with texts like those to classify; a column of right "
            "labels adds figures and thresholds. Built-in texts by default.",
        ),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Its column with the text.")] = "text",
    label_column: Annotated[
        str | None,
        typer.Option(help="Its column with the label, or none; label by default, if it is there."),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            help="Tokens a text; as many as the checkpoint reads by default, at most 512."
        ),
    ] = None,
    alias: Annotated[
        str, typer.Option("--alias", help="Alias to move to the new version, or none.")
    ] = "default",
    detach: Annotated[
        bool, typer.Option("--detach", help="Return as soon as the import is queued.")
    ] = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Make a version of a Hugging Face classification checkpoint (safetensors, never remote code).

    It is exported, quantized and gated by a worker that trains; Ctrl-C leaves it going.
    """
    check_model_name(name, "--name")
    given = read_calibration(calibration, text_column, label_column)
    with options.connect(address, timeout) as client:
        job = client.create_import(
            # A path means something on the worker only when it is absolute.
            directory.expanduser().absolute(),
            model=name,
            calibration_texts=given.texts,
            calibration_labels=given.labels,
            max_length=max_length,
            alias=None if alias == "none" else alias,
        )
        if detach:
            show_detached(job, json=json)
            return
        job = follow(client, job)
        version = client.get_version(f"{job.model}@{job.version}")
    if json:
        output.document(import_summary(version))
        return
    if version.metrics:
        output.show(figures_table(version))
    else:
        output.note(judged_by(version))
    output.show(gates_table(version))
    output.show(f"labels {', '.join(version.labels)}")
    output.show(f"version {version.model}@{version.version}, report {report_path(version)}")


@app.command()
def report(
    model: Ref,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Print where a version's report lies and, with --json, the report itself."""
    with options.connect(address, timeout) as client:
        version = client.get_version(model)
    if json:
        output.document(version.report or {})
        return
    output.show(gates_table(version))
    output.show(report_path(version))


def _print_model(model: Model, *, json: bool) -> None:
    if json:
        output.document({"model": model})
    else:
        output.note(f"{model.name}: {_aliases(model)}")


def _aliases(model: Model) -> str:
    return ", ".join(f"{name} → {version}" for name, version in sorted(model.aliases.items()))
