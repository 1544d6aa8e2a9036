"""The training child as the worker runs it, on a model small enough to train in seconds."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from tiny_bert import make_base_model, make_rows, write_csv

from labelmill.errors import ModelNotFoundError
from labelmill.registry import Registry
from labelmill.registry.dataset_check import DatasetHeader
from labelmill.registry.datasets import DatasetStore

pytestmark = pytest.mark.timeout(180)

#: What `train --json` and the docs promise at the top level of report.json.
PROMISED = {
    "baseline": {"accuracy", "macro_f1"},
    "gates": {"label_agreement", "batch_flips", "max_abs_dlogit", "size_ratio", "passed"},
}


class Job(NamedTuple):
    registry: Path
    dataset_id: str
    base: Path
    work_dir: Path

    def write(self, config: dict[str, Any] | None = None) -> Path:
        self.work_dir.mkdir(exist_ok=True)
        settings = {
            "base_model": str(self.base),
            "learning_rate": 5e-3,
            "epochs": 6,
            "max_length": 64,
        }
        job = {
            "registry": str(self.registry),
            "dataset_id": self.dataset_id,
            "model": "films",
            "config": settings | (config or {}),
            "work_dir": str(self.work_dir),
        }
        file = self.work_dir / "job.json"
        file.write_text(json.dumps(job))
        return file

    def start(self, config: dict[str, Any] | None = None, **kwargs: Any) -> subprocess.Popen[str]:
        file = self.write(config)
        with (self.work_dir / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "labelmill.worker.train", str(file)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                **kwargs,
            )

    def finish(self, child: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
        out, _ = child.communicate(timeout=150)
        return child.returncode, [json.loads(line) for line in out.splitlines()]

    def registered(self) -> list[int]:
        try:
            return Registry(self.registry).versions("films")
        except ModelNotFoundError:
            return []

    def left_over(self) -> list[Path]:
        """What is staged, or left of a run in the work folder."""
        return [*self.registry.rglob(".staging-*"), *self.work_dir.glob("run-*")]


def make_job(folder: Path, base: Path) -> Job:
    registry = folder / "registry"
    data = write_csv(folder / "films.csv", make_rows(240)).read_bytes()
    with DatasetStore(registry).begin() as writer:
        writer.write(data)
        meta = writer.finish(DatasetHeader.checked("csv", display_name="films.csv"))
    return Job(registry, meta.id, base, folder / "work")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def job(tmp_path: Path, base: Path) -> Job:
    return make_job(tmp_path, base)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, base: Path
) -> tuple[Job, int, list[dict[str, Any]]]:
    job = make_job(tmp_path_factory.mktemp("trained"), base)
    return job, *job.finish(job.start())


def test_the_last_line_names_the_version_and_the_registry_has_it(
    trained: tuple[Job, int, list[dict[str, Any]]],
) -> None:
    job, code, lines = trained
    assert (code, lines[-1]) == (0, {"result": {"version": 1}})
    manifest = Registry(job.registry).verify("films", 1)
    assert manifest.labels == ["bad", "good"]
    assert manifest.training["dataset_id"] == job.dataset_id
    assert 0.5 < manifest.threshold <= 0.95
    assert "onnx-fp32" in manifest.engines
    assert job.left_over() == []


def test_the_events_lead_through_the_steps(
    trained: tuple[Job, int, list[dict[str, Any]]],
) -> None:
    *events, _ = trained[2]
    stages = list(dict.fromkeys(event["stage"] for event in events))
    assert stages == [
        *("validate", "split", "baseline", "fine-tune", "export", "gates", "quantize"),
        *("calibrate", "evaluate", "report", "register"),
    ]
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0.0, 1.0)
    assert any("loss" in event["metrics"] for event in events)
    assert sum("eval_macro_f1" in event["metrics"] for event in events) >= 2
    assert all(event["message"] for event in events)


def test_the_report_keeps_its_promises(trained: tuple[Job, int, list[dict[str, Any]]]) -> None:
    job = trained[0]
    report = json.loads((Registry(job.registry).path("films", 1) / "report.json").read_bytes())
    for section, keys in PROMISED.items():
        assert keys <= report[section].keys()
    assert report["model"] == "films"
    assert report["seconds"] > 0
    assert report["dataset"]["split"] == {"train": 168, "validation": 36, "test": 36}
    assert report["gates"]["texts"] == 240
    assert report["test"]["fp32"]["accuracy"] > 0.9
    assert sum(map(sum, report["test"]["fp32"]["confusion"])) == 36
    manifest = Registry(job.registry).manifest("films", 1)
    assert manifest.metrics["fp32.accuracy"] == report["test"]["fp32"]["accuracy"]


@pytest.fixture
def under_way(job: Job) -> Iterator[tuple[Job, subprocess.Popen[str]]]:
    """A child that is fine-tuning, with hours before it."""
    child = job.start({"epochs": 100, "early_stopping_patience": 100, "batch_size": 2})
    assert child.stdout is not None
    for line in child.stdout:
        if json.loads(line)["metrics"].get("step"):
            break
    yield job, child
    child.kill()
    child.communicate()


def test_sigterm_ends_it_in_time_and_registers_nothing(
    under_way: tuple[Job, subprocess.Popen[str]],
) -> None:
    job, child = under_way
    start = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=30) == 128 + signal.SIGTERM
    assert time.monotonic() - start < 5
    assert job.registered() == []
    assert list(job.registry.rglob(".staging-*")) == []


def test_it_ends_with_the_worker_that_started_it(job: Job) -> None:
    file = job.write({"epochs": 100, "early_stopping_patience": 100})
    program = (
        "import json, os, pathlib, subprocess, sys, time\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "file.write_text(json.dumps(json.loads(file.read_text()) | {'worker_pid': os.getpid()}))\n"
        "command = [sys.executable, '-m', 'labelmill.worker.train', sys.argv[1]]\n"
        "child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        child = psutil.Process(int(worker.stdout.readline()))
        worker.kill()
    child.wait(timeout=30)
    assert job.registered() == []


def test_an_unknown_data_set_is_an_error_line(job: Job) -> None:
    code, lines = job.finish(job._replace(dataset_id="0" * 64).start())
    assert code == 1
    assert lines[-1]["error"]["reason"] == "DATASET_NOT_FOUND"


def test_a_max_length_beyond_the_base_model_is_an_error_line(job: Job) -> None:
    code, lines = job.finish(job.start({"max_length": 128}))
    assert code == 1
    assert lines[-1]["error"]["reason"] == "INVALID_ARGUMENT"
    assert "config.max_length" in lines[-1]["error"]["message"]
    assert "64 tokens at most" in lines[-1]["error"]["message"]


def test_no_space_left_registers_nothing_and_cleans_up(job: Job) -> None:
    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    env = os.environ | {"HF_HOME": str(job.work_dir)}
    code, lines = job.finish(job.start(preexec_fn=no_large_files, env=env))
    assert code == 1
    assert lines[-1]["error"]["reason"] == "FAILED_PRECONDITION"
    assert "no space" in lines[-1]["error"]["message"]
    assert job.registered() == []
    assert job.left_over() == []
