"""Foreign checkpoints through a real server, worker and Valkey, against transformers' pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import redis
from checkpoints import LABELS, make_checkpoint
from classifiers import train
from servers import PATIENCE_S, ServerProcess
from tiny_bert import make_rows
from workers import WorkerProcess

from labelmill.client import Client, JobState
from labelmill.errors import (
    InvalidArgumentError,
    ModelNotFoundError,
)
from labelmill.queue.connection import connect
from labelmill.queue.embedded import EmbeddedServer
from labelmill.queue.training import TrainingLeases
from labelmill.registry import Registry

pytestmark = pytest.mark.timeout(180)

TEXTS = [text for text, _ in make_rows(12, seed=5)]

#: Texts that gates and ranges take less time on than on the built-in ones.
CALIBRATION = [text for text, _ in make_rows(400, seed=6)]

#: More than ten, so that sorting their numbers as text would mix them up.
MANY = tuple(f"label {letter}" for letter in "lkjihgfedcba")


class Service(NamedTuple):
    client: Client
    registry: Registry
    redis_url: str
    folder: Path

    def worker(self, name: str) -> WorkerProcess:
        log = self.folder / f"{name}.log"
        started = WorkerProcess(
            self.redis_url, self.registry.root, log, name=name, LABELMILL_TRAIN="true"
        )
        return started.ready()

    def left_over(self, model: str) -> list[Path]:
        """What a broken import left in the model's folder."""
        return list((self.registry.root / "models" / model).glob("*"))


@pytest.fixture(scope="module")
def service(valkey: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with redis.Redis.from_url(valkey.url) as raw:
        raw.flushall()
    registry = Registry(folder / "registry")
    server = ServerProcess(valkey.url, registry.root, folder / "server.log").ready()
    with Client(server.address) as client:
        yield Service(client, registry, valkey.url, folder)
    server.terminate()
    assert server.wait() == 0


@pytest.fixture(scope="module")
def worker(service: Service) -> Iterator[WorkerProcess]:
    """Serves the tests that leave it alive."""
    worker = service.worker("steady")
    yield worker
    worker.kill()


def pipeline_scores(folder: Path, texts: Sequence[str]) -> list[dict[str, float]]:
    """Label → score of each text, by transformers' own pipeline."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    return [{row["label"]: row["score"] for row in rows} for rows in classify(list(texts))]


def served_scores(client: Client, model: str, engine: str) -> list[dict[str, float]]:
    answer = client.classify(TEXTS, model=model, engine=engine, threshold=0)
    return [{row.label: row.score for row in result.scores} for result in answer.results]


def multi_label(config: dict[str, Any]) -> None:
    config["problem_type"] = "multi_label_classification"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("family", "labels", "change"),
    [("bert", LABELS, None), ("distilbert", LABELS, multi_label), ("roberta", MANY, None)],
)
def test_labels_and_scores_are_those_of_the_pipeline(
    service: Service, tmp_path: Path, family: str, labels: tuple[str, ...], change: Any
) -> None:
    folder = make_checkpoint(tmp_path / family, family, labels, change)
    version = service.client.import_model(folder, model=family, calibration_texts=CALIBRATION)

    assert version.labels == list(labels)
    assert (version.multi_label, version.threshold) == (change is not None, 0.0)
    assert version.base_model == str(folder)
    wanted = pipeline_scores(folder, TEXTS)
    for engine in ("onnx-fp32", "onnx"):
        served = served_scores(service.client, family, engine)
        for mine, theirs in zip(served, wanted, strict=True):
            assert mine == pytest.approx(theirs, abs=2e-4)
    if change is None:
        answer = service.client.classify(TEXTS, model=family)
        best = [max(scores, key=lambda name: scores[name]) for scores in wanted]
        assert [result.label for result in answer.results] == best


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that can tell good from bad, large enough for INT8 to save its bytes."""
    folder = make_checkpoint(
        tmp_path_factory.mktemp("trained") / "m", labels=("good", "bad"), hidden=128, rows=30_000
    )
    rows = make_rows(300)
    train(folder, [text for text, _ in rows], [int(label == "bad") for _, label in rows], steps=60)
    return folder


@pytest.mark.usefixtures("worker")
def test_labelled_texts_bring_figures_thresholds_and_gates_on_f1(
    service: Service, trained: Path
) -> None:
    rows = make_rows(600, seed=7)
    version = service.client.import_model(
        trained,
        model="labelled",
        calibration_texts=[text for text, _ in rows],
        calibration_labels=[label for _, label in rows],
        alias="canary",
    )
    assert version.labels == ["good", "bad"]
    assert version.engines[:2] == ["onnx-int8", "onnx-fp32"]
    assert version.metrics["int8.accuracy"] > 0.9
    assert 0 < version.threshold <= 0.95
    assert "int8.macro_f1_drop" in {gate.name for gate in version.gates}
    assert version.aliases == ["canary"]
    assert version.report is not None
    assert version.report["texts"]["gates"]["texts"] == 400
    assert version.report["texts"]["judged_by"] == "right labels"
    answer = service.client.classify(TEXTS, model="labelled@canary", threshold=0)
    right = [label for _, label in make_rows(12, seed=5)]
    assert answer.engine == "onnx-int8"
    assert [result.label for result in answer.results] == right


@pytest.mark.usefixtures("worker")
def test_without_any_texts_the_built_in_ones_gate_and_the_report_says_so(
    service: Service, trained: Path
) -> None:
    warnings: list[str] = []
    version = service.client.import_model(
        trained,
        model="plain",
        on_event=lambda event: warnings.append(event.message) if event.warning else None,
    )
    assert version.metrics == {}
    assert "int8.noise" in {gate.name for gate in version.gates}
    report = version.report
    assert report is not None
    assert report["source"]["directory"] == str(trained)
    assert report["source"]["architectures"] == ["BertForSequenceClassification"]
    assert report["texts"]["given"] == 0
    assert report["texts"]["gates"]["source"].endswith("built-in texts")
    assert "nobody gave the right labels" in report["texts"]["judged_by"]
    assert sum(report["texts"]["labels_given_by_checkpoint"].values()) == report["gates"]["texts"]
    assert report["warnings"] == warnings
    manifest = service.registry.verify("plain", version.version)
    assert (manifest.temperature, manifest.threshold) == (1.0, 0.0)


@pytest.mark.usefixtures("worker")
def test_what_the_worker_cannot_import_is_named_and_leaves_nothing(
    service: Service, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    folder = make_checkpoint(tmp_path / "m")
    for source, fields, field in (
        (nowhere, {}, "source_directory"),
        (
            folder,
            {"calibration_texts": ["a"], "calibration_labels": ["bee"]},
            "calibration_labels[0]",
        ),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            service.client.import_model(source, model="refused", **fields)  # type: ignore[arg-type]
        assert [violation.field for violation in caught.value.violations] == [field]
    assert service.left_over("refused") == []
    with pytest.raises(ModelNotFoundError):
        service.client.get_model("refused")


def until_stage(client: Client, job: str, stage: str) -> None:
    """Returns when the run is there."""
    for event in client.watch_training(job, timeout=PATIENCE_S):
        if event.stage == stage:
            return
    raise AssertionError(f"it never came to {stage}")


def test_a_killed_worker_registers_nothing_and_the_next_one_does_it_all(
    service: Service, worker: WorkerProcess, trained: Path
) -> None:
    worker.drain()
    doomed = service.worker("doomed")
    job = service.client.create_import(trained, model="survivor")
    until_stage(service.client, job.id, "export")
    children = psutil.Process(doomed.process.pid).children(recursive=True)
    doomed.kill()
    psutil.wait_procs(children, timeout=PATIENCE_S)
    assert service.left_over("survivor") == []
    assert service.client.get_training_job(job.id).state is JobState.RUNNING

    with connect(service.redis_url) as raw:
        # What happens after a minute without a beat, at once.
        leases = TrainingLeases(raw, "reaper", lease_ms=0)
        taken = leases.lease()
        assert taken is not None
        assert leases.release(job.id, taken[1])
    heir = service.worker("heir")
    try:
        events = list(service.client.watch_training(job.id, timeout=120))
        done = service.client.get_training_job(job.id)
        assert (done.state, done.version) == (JobState.SUCCEEDED, 1)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert [path.name for path in service.left_over("survivor")] == ["1"]
        assert not (service.registry.root / "work" / job.id).exists()
        assert service.client.classify(TEXTS, model="survivor").version == 1
    finally:
        heir.kill()


def test_a_cancelled_import_ends_in_time_and_leaves_nothing(
    service: Service, trained: Path
) -> None:
    worker = service.worker("patient")
    try:
        job = service.client.create_import(trained, model="cancelled")
        until_stage(service.client, job.id, "export")
        service.client.cancel_training(job.id)
        states = [event.state for event in service.client.watch_training(job.id, timeout=30)]
        assert states[-1] is JobState.CANCELLED
        assert service.left_over("cancelled") == []
    finally:
        worker.kill()


def test_a_version_registered_before_its_worker_died_is_not_made_twice(
    service: Service, trained: Path
) -> None:
    """The child had registered it, but nobody was left to say so."""
    client = service.client
    first = client.create_import(trained, model="once", calibration_texts=CALIBRATION)
    worker = service.worker("first")
    try:
        list(client.watch_training(first.id, timeout=120))
    finally:
        worker.kill()
    manifest = service.registry.manifest("once", 1)
    assert manifest.training["job"] == first.id
    from labelmill.worker.foreign.pipeline import run_import
    from labelmill.worker.foreign.request import ImportRequest

    again = run_import(
        ImportRequest(first.id, "once", trained),
        registry=service.registry,
        work_dir=service.folder / "work",
        listener=lambda event: None,
    )
    assert again == manifest
    assert service.registry.versions("once") == [1]
