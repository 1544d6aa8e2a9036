"""`labelmill train`: upload a data set, follow the run, say what came out of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from labelmill.client import Client, Dataset, TrainingEvent, TrainingJob
from labelmill.client._wire.jobs import failure
from labelmill.client.cli import options, output
from labelmill.client.cli.report import figures_table, gates_table, report_path, summary
from labelmill.errors import LabelmillError
from labelmill.names import check_model_name

#: Metrics shown beside the progress bar, in this order.
_SHOWN_METRICS = ("epoch", "loss", "eval_loss", "eval_macro_f1")


def train(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="CSV, JSONL or Parquet with texts and labels.")
    ],
    name: Annotated[str, typer.Option("--name", help="Model the new version will belong to.")],
    base: Annotated[
        str | None,
        typer.Option(
            "--base", help="minilm (default), a Hugging Face directory on the worker, a hub name."
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training split.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts an optimizer step.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens a text, 8 to 512.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Decay of the weights.")] = None,
    class_weights: Annotated[
        bool | None,
        typer.Option("--class-weights", help="Weigh the loss by inverse class frequency."),
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="In [0, 1).")] = None,
    early_stopping_patience: Annotated[
        int | None, typer.Option(help="Evaluations without a better macro-F1 before stopping.")
    ] = None,
    freeze_backbone_epochs: Annotated[
        int | None, typer.Option(help="Train only the head for so many epochs first.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of split, initialisation, shuffling.")] = None,
    text_column: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    label_column: Annotated[
        str, typer.Option(help="Column with the label; a|b means two labels.")
    ] = "label",
    alias: Annotated[
        str, typer.Option("--alias", help="Alias to move to the new version, or none.")
    ] = "default",
    detach: Annotated[
        bool, typer.Option("--detach", help="Return as soon as the run is queued.")
    ] = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Train a model on DATA and register it as a new, gated version.

    Ctrl-C leaves the run going; hyper-parameters left out follow base model and labels.
    """
    check_model_name(name, "--name")
    with options.connect(address, timeout) as client:
        dataset = upload(client, data, text_column, label_column)
        job = client.train(
            dataset,
            model=name,
            alias=None if alias == "none" else alias,
            wait=False,
            base_model=base,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_length=max_length,
            weight_decay=weight_decay,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
            early_stopping_patience=early_stopping_patience,
            freeze_backbone_epochs=freeze_backbone_epochs,
            seed=seed,
        )
        if detach:
            show_detached(job, json=json)
            return
        job = follow(client, job)
        version = client.get_version(f"{job.model}@{job.version}")
    if json:
        output.document(summary(version))
        return
    output.show(figures_table(version))
    output.show(gates_table(version))
    output.show(f"version {version.model}@{version.version}, report {report_path(version)}")


def upload(client: Client, path: Path, text_column: str, label_column: str) -> Dataset:
    """Uploads the data set with a progress bar and says what is in it."""
    size = path.stat().st_size if path.is_file() else 0
    with output.progress() as progress:
        task = progress.add_task(f"uploading {path.name}", total=size)
        dataset = client.upload_dataset(
            path,
            text_column=text_column,
            label_column=label_column,
            on_progress=lambda sent: progress.update(task, completed=sent),
        )
    labels = ", ".join(f"{label} {count:,}" for label, count in list(dataset.labels.items())[:8])
    more = f" and {len(dataset.labels) - 8} more labels" if len(dataset.labels) > 8 else ""
    output.note(f"{path.name}: {dataset.rows:,} rows: {labels}{more}")
    return dataset


def show_detached(job: TrainingJob, *, json: bool) -> None:
    """Prints the id of a job that nobody waits for."""
    if json:
        output.document({"job": job.id, "state": job.state, "model": job.model})
    else:
        output.show(job.id)
        output.note(_goes_on(job))


def follow(client: Client, job: TrainingJob) -> TrainingJob:
    """Shows the events of a run or an import until it has ended; raises what it failed with."""
    with _detaching(job), output.progress() as progress:
        task = progress.add_task("queued", total=1.0)
        stage = ""
        for event in client.watch_training(job.id):
            progress.update(task, description=_describe(event), completed=event.progress)
            if event.state.final and not event.state.successful:
                # What it failed with is raised below, and said once.
                continue
            if event.warning:
                output.warn(event.message)
            elif event.stage != stage and event.message:
                output.note(f"{event.stage}: {event.message}")
            stage = event.stage
    job = client.get_training_job(job.id)
    if not job.state.successful:
        raise failure(job.id, job.state, job.error, job.error_fields)
    return job


@contextmanager
def _detaching(job: TrainingJob) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        output.note(_goes_on(job))
        raise
    except LabelmillError as error:
        if error.code == "UNAVAILABLE":
            output.note(_goes_on(job))
        raise


def job_kind(job: TrainingJob) -> str:
    """What the job does, in a word."""
    return "training" if job.kind == "train" else job.kind


def _goes_on(job: TrainingJob) -> str:
    return (
        f"{job_kind(job)} job {job.id} goes on; `labelmill jobs watch {job.id}` follows it, "
        f"`labelmill jobs cancel {job.id}` stops it"
    )


def _describe(event: TrainingEvent) -> str:
    figures = " ".join(
        f"{name} {event.metrics[name]:.3g}" for name in _SHOWN_METRICS if name in event.metrics
    )
    return f"{event.stage} {figures}".rstrip()
