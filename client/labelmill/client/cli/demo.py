"""`labelmill demo`: train, check, classify, score and compare on the example reviews."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.rule import Rule

from labelmill.client import Client, ModelVersion
from labelmill.client.cli import comparison, options, output
from labelmill.client.cli.demo_texts import (
    OUT_OF_PLACE,
    REVIEWS,
    read_results,
    read_texts,
    write_pairs,
)
from labelmill.client.cli.installed import check_everything
from labelmill.client.cli.report import figures_table, gates_table, report_path
from labelmill.client.cli.score import score
from labelmill.client.cli.train import follow, upload
from labelmill.client.examples import example_reviews
from labelmill.client.local.lock import LOCK_FILE, running
from labelmill.errors import FailedPreconditionError, InternalError

#: Model that the demo trains.
_MODEL = "reviews"

#: Passes over the training split: enough for these reviews, and soon over.
_EPOCHS = 3

#: Texts in the file that is scored.
_SCORED_TEXTS = 5_000

#: Says that a folder is the demo's own, and may be emptied.
_MARKER = "made-by-labelmill-demo"

#: What is compared, with few rounds and short ones: the tour is to be over soon.
_CONTENDERS = ("hf-pipeline-fp32", "ort-dynamic-int8", "onnx-int8")
_BENCH_TEXTS, _BENCH_ROUNDS, _ALONE_S = 300, 3, 1.0

_STEPS = 6


def demo(
    data_dir: Annotated[
        Path,
        typer.Option("--data-dir", file_okay=False, help="Folder of the demo; emptied first."),
    ] = Path(".labelmill-demo"),
    json: options.Json = False,
) -> None:
    """Take the whole tour on the example reviews; ends by itself.

    Trains a model, shows what it had to prove, classifies five sentences, scores 5,000 texts and
    compares engines. It runs apart from any `labelmill up`.
    """
    check_everything()
    reviews = example_reviews()
    if reviews is None:
        raise FailedPreconditionError(
            "the example reviews are not part of this installation; run the demo in a checkout"
        )
    _empty(data_dir)
    # As ctrl-C: the children are drained on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    show = output.stderr.print if json else output.show
    with _Tour(data_dir, reviews, show) as tour:
        result = tour.with_server()
    result["bench"] = tour.compare()
    seconds = time.monotonic() - started
    if json:
        output.document({**result, "seconds": seconds})
    output.note("")
    output.note(f"Done in {seconds:.0f} s. To go on with the model of the demo:")
    output.note(f"  labelmill up --data-dir {data_dir}")
    output.note(f'  labelmill classify "Your own words." --model {_MODEL}')
    output.note("To train on your own: labelmill train YOUR.csv --name YOURS (columns text, label)")


def _empty(data_dir: Path) -> None:
    if running(data_dir):
        raise FailedPreconditionError(
            f"data_dir: another demo, or `labelmill up`, uses {data_dir}; wait for its end, or "
            "give another --data-dir"
        )
    if data_dir.is_dir() and any(data_dir.iterdir()):
        if not (data_dir / _MARKER).is_file():
            raise FailedPreconditionError(
                f"data_dir: {data_dir} holds something that is not the demo's, which starts from "
                "nothing; give an empty folder"
            )
        for path in data_dir.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (_MARKER, LOCK_FILE):
                path.unlink()
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / _MARKER).touch()


class _Tour:
    """The steps, in order.

    Args:
        data_dir: folder of the demo, empty.
        reviews: file of labelled reviews.
        show: prints a table.
    """

    def __init__(self, data_dir: Path, reviews: Path, show: Callable[[Any], None]) -> None:
        from labelmill.client.local.stack import LocalStack, StackOptions

        self._data_dir = data_dir
        self._reviews = reviews
        self._show = show
        self._step = 0
        self._stack = LocalStack(StackOptions(data_dir), output.note, threading.Event())

    def __enter__(self) -> _Tour:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.stop()

    def with_server(self) -> dict[str, Any]:
        """Every step that needs the server; returns their figures."""
        self._begin("Start Valkey, the server and a worker")
        ready = self._stack.start()
        output.note(
            f"{ready.redis_version} and the server on {ready.address}, logs {ready.log_dir}"
        )
        with options.connect(ready.address) as client:
            version = self._train(client)
            self._gates(version)
            answers = self._classify(client, version)
            scored = self._score(ready.address)
        report = version.report or {}
        return {
            "model": version.model,
            "version": version.version,
            "baseline": report.get("baseline"),
            "test": report.get("test"),
            "gates": report.get("gates"),
            "classified": answers,
            "scored": scored,
        }

    def _begin(self, title: str) -> None:
        self._step += 1
        output.stderr.print()
        output.stderr.print(Rule(f"{self._step} of {_STEPS}  {title}", align="left"))

    def _train(self, client: Client) -> ModelVersion:
        self._begin("Train on the example reviews")
        output.note(
            "A small BERT (MiniLM, 23 million weights) learns from 70% of them; 15% choose the "
            "best epoch and the thresholds, 15% are looked at only once, for the figures below."
        )
        dataset = upload(client, self._reviews, "text", "label")
        job = follow(client, client.train(dataset, model=_MODEL, wait=False, epochs=_EPOCHS))
        version = client.get_version(f"{job.model}@{job.version}")
        self._show(figures_table(version))
        return version

    def _gates(self, version: ModelVersion) -> None:
        self._begin("What the INT8 file had to prove before it was published")
        self._show(gates_table(version))
        output.note(f"the whole report: {report_path(version)}")

    def _classify(self, client: Client, version: ModelVersion) -> list[dict[str, Any]]:
        self._begin("Classify five sentences")
        strange = client.classify(OUT_OF_PLACE, model=_MODEL).results
        puzzle = min(range(len(strange)), key=lambda index: strange[index].score)
        texts = [*REVIEWS, OUT_OF_PLACE[puzzle]]
        answer = client.classify(texts, model=_MODEL)
        table = output.table("label", ">score", "text")
        for text, result in zip(texts, answer.results, strict=True):
            table.add_row(result.label, f"{result.score:.3f}", text)
        self._show(table)
        output.note(
            f"The last one is no review: of {len(OUT_OF_PLACE)} odd sentences the model is least "
            f"sure of it. Below a score of {version.threshold:.3f}, which training chose, the "
            "answer is UNKNOWN instead of a guess."
        )
        output.note(
            f"{answer.engine}: queue {answer.queue_ms:.1f} ms, inference "
            f"{answer.inference_ms:.1f} ms for the five."
        )
        return [
            {"text": text, "label": result.label, "score": result.score}
            for text, result in zip(texts, answer.results, strict=True)
        ]

    def _score(self, address: str) -> dict[str, Any]:
        self._begin(f"Score a file of {_SCORED_TEXTS:,} texts")
        source, target = self._data_dir / "texts.csv", self._data_dir / "scored.csv"
        ids = write_pairs(read_texts(self._reviews), _SCORED_TEXTS, source)
        started = time.monotonic()
        score(source, target, _MODEL, id_column="id", address=address)
        seconds = time.monotonic() - started
        rows = read_results(target)
        if [row["id"] for row in rows] != ids:
            raise InternalError(f"{target} has not every text once and in order; this is a defect")
        failed = [row for row in rows if row["error"]]
        if failed:
            raise InternalError(f"{len(failed)} texts failed: {failed[0]['error']}")
        counts = Counter(row["label"] for row in rows)
        shares = ", ".join(f"{label} {count:,}" for label, count in counts.most_common())
        output.note(f"checked: {len(rows):,} rows, in the order of the input, none twice: {shares}")
        return {"texts": len(rows), "seconds": seconds, "labels": dict(counts)}

    def compare(self) -> dict[str, Any]:
        """Compares engines, once the server is down."""
        from labelmill.client.bench import offline

        self._begin("Compare with the usual ways to run such a model")
        with output.stderr.status("starting") as status:
            result = offline.run(
                offline.Offline(
                    model=_MODEL,
                    registry=self._stack.registry,
                    contenders=_CONTENDERS,
                    fallback=self._reviews,
                    limit=_BENCH_TEXTS,
                    rounds=_BENCH_ROUNDS,
                    alone_budget_s=_ALONE_S,
                ),
                status.update,
            )
        comparison.show(result, self._show)
        return result
