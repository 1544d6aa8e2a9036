"""`labelmill jobs`: scoring and training jobs by their ids."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Annotated

import typer

from labelmill.client import Client, Job, JobState, TrainingJob
from labelmill.client.cli import options, output
from labelmill.client.cli.train import follow, job_kind
from labelmill.errors import JobNotFoundError

app = typer.Typer(no_args_is_help=True, help="List, watch and steer scoring and training jobs.")

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]


@app.command("list")
def list_(
    state: Annotated[
        list[JobState] | None, typer.Option("--state", help="Only jobs in this state; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest jobs of each kind.")] = 50,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """List scoring and training jobs, newest first."""
    chosen = set(state or JobState)
    page_size = min(limit, 1000)
    with options.connect(address, timeout) as client:
        scoring = list(islice(client.list_jobs(states=state or (), page_size=page_size), limit))
        runs = client.list_training_jobs(page_size=page_size)
        training = list(islice((run for run in runs if run.state in chosen), limit))
    if json:
        output.document({"jobs": scoring, "training_jobs": training})
        return
    table = output.table("job", "kind", "state", "model", ">done", ">total", ">failed", "created")
    rows = [(job.created_at, _scoring_row(job)) for job in scoring]
    rows += [(job.created_at, _training_row(job)) for job in training]
    for created, row in sorted(rows, key=lambda r: r[0].timestamp() if r[0] else 0, reverse=True):
        table.add_row(*row, f"{created:%Y-%m-%d %H:%M:%S}" if created else "")
    output.show(table)


@app.command()
def show(
    job_id: JobId,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Show one job in full."""
    with options.connect(address, timeout) as client:
        job = _either(job_id, client.get_job, client.get_training_job)
    _print(job, json=json)


@app.command()
def watch(
    job_id: JobId,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Follow a job until it has ended; with --json print it then."""
    with options.connect(address, timeout) as client:
        job = _either(job_id, client.get_job, client.get_training_job)
        if isinstance(job, TrainingJob):
            _print(follow(client, job), json=json)
            return
        job = _watch_scoring(client, job)
    _print(job, json=json)
    if not job.state.successful:
        raise typer.Exit(1)


def _watch_scoring(client: Client, job: Job) -> Job:
    with output.progress("texts") as progress:
        task = progress.add_task(job.state.lower(), total=None)
        newest = job
        for newest in client.watch_job(job.id):
            progress.update(
                task,
                description=newest.state.lower(),
                completed=newest.succeeded + newest.failed,
                total=newest.total if newest.sealed else None,
            )
    return newest


@app.command()
def cancel(
    job_id: JobId,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Stop a job; a scoring job keeps the results it has."""
    with options.connect(address, timeout) as client:
        job = _either(job_id, client.cancel_job, client.cancel_training)
    _print(job, json=json)


@app.command()
def pause(
    job_id: JobId,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Hold a scoring job back until it is resumed."""
    with options.connect(address, timeout) as client:
        _print(client.pause_job(job_id), json=json)


@app.command()
def resume(
    job_id: JobId,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Continue a paused scoring job."""
    with options.connect(address, timeout) as client:
        _print(client.resume_job(job_id), json=json)


@app.command()
def results(
    job_id: JobId,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Print a scoring job's results as CSV in input order, waiting for those still to come."""
    with options.connect(address, timeout) as client:
        client.get_job(job_id)
        rows = client.results(job_id)
        if json:
            output.document({"job": job_id, "results": list(rows)})
            return
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["index", "id", "label", "score", "error"])
        for row in rows:
            error = "" if row.error is None else f"{row.error.reason}: {row.error.message}"
            score = "" if row.error else round(row.score, output.SCORE_DIGITS)
            writer.writerow([row.index, row.id, row.label, score, error])


def _either(
    job_id: str, scoring: Callable[[str], Job], training: Callable[[str], TrainingJob]
) -> Job | TrainingJob:
    """What the first of the two returns that knows the job; raises JobNotFoundError."""
    with suppress(JobNotFoundError):
        return scoring(job_id)
    with suppress(JobNotFoundError):
        return training(job_id)
    raise JobNotFoundError(f"there is no job {job_id!r}; `labelmill jobs list` lists them")


def _print(job: Job | TrainingJob, *, json: bool) -> None:
    if json:
        output.document({"job" if isinstance(job, Job) else "training_job": job})
        return
    table = output.table("", "")
    table.show_header = False
    for name, value in output.plain(job).items():
        if name == "error" and value:
            value = f"{value['reason']}: {value['message']}"
        table.add_row(name.replace("_", " "), "" if value is None else str(value))
    output.show(table)


def _scoring_row(job: Job) -> tuple[str, ...]:
    done = job.succeeded + job.failed
    model = f"{job.model}@{job.version}"
    return (job.id, "scoring", job.state, model, f"{done:,}", f"{job.total:,}", f"{job.failed:,}")


def _training_row(job: TrainingJob) -> tuple[str, ...]:
    model = f"{job.model}@{job.version}" if job.version else job.model
    return (job.id, job_kind(job), job.state, model, f"{job.progress:.0%}", "", "")
