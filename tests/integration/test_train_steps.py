"""Fine-tuning and the pipeline in this process: resuming, divergence, failures on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_bert import make_base_model, make_rows, write_csv

from labelmill.errors import GateFailedError, InvalidArgumentError, ModelNotFoundError
from labelmill.registry import Registry
from labelmill.registry.dataset_check import DatasetHeader, inspect_file
from labelmill.training import TrainingConfig
from labelmill.worker import cpu
from labelmill.worker.train import callbacks, pipeline
from labelmill.worker.train.base import BaseModel, resolve_base_model
from labelmill.worker.train.events import Event
from labelmill.worker.train.examples import Examples, read_examples
from labelmill.worker.train.finetune import FineTuned, fine_tune
from labelmill.worker.train.pipeline import calibration_rows, choose_gate_texts
from labelmill.worker.train.split import Split, split

pytestmark = pytest.mark.timeout(180)


class Killed(BaseException):
    """Stands for the process being killed."""


class Bench:
    """A data set and a base model to fine-tune."""

    def __init__(self, folder: Path, rows: list[tuple[str, str]]) -> None:
        self.file = write_csv(folder / "data.csv", rows)
        self.meta = inspect_file(self.file, DatasetHeader.checked("csv"), "id")
        self.examples: Examples = read_examples(self.file, self.meta)
        self.rows: Split = split(self.examples.label_ids, len(self.examples.labels), 0)
        self.base: BaseModel = resolve_base_model(str(make_base_model(folder / "base")))

    def fine_tune(
        self, folder: Path, report: callbacks.Report = lambda *_: None, **config: Any
    ) -> FineTuned:
        hyper = TrainingConfig.checked(
            {"learning_rate": 5e-3, "epochs": 6, "early_stopping_patience": 100} | config
        ).resolve(parameters=1, labels=2, training_rows=len(self.rows.train))
        return fine_tune(self.base, self.examples, self.rows, hyper, folder, report)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), make_rows(200))


def weights(found: FineTuned) -> bytes:
    return (Path(found.checkpoint) / "model.safetensors").read_bytes()


@pytest.mark.parametrize("step", [27, 33])
def test_a_killed_run_resumes_and_ends_like_an_unbroken_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Nine steps make an epoch: at the end of one and in the middle."""
    monkeypatch.setattr(callbacks, "CHECKPOINT_EVERY_S", 0.0)
    # Sums over several threads differ in the last bit from run to run.
    monkeypatch.setattr(cpu, "usable_cores", lambda: 1)

    def kill(_: str, __: float, figures: Mapping[str, float]) -> None:
        if figures["step"] >= step:
            raise Killed

    with pytest.raises(Killed):
        bench.fine_tune(tmp_path / "killed", kill)
    resumed = bench.fine_tune(tmp_path / "killed")
    unbroken = bench.fine_tune(tmp_path / "unbroken")
    assert resumed.resumed_from_step > 0
    assert resumed.steps == unbroken.steps
    assert weights(resumed) == weights(unbroken)


def test_a_run_that_had_ended_is_not_run_again(bench: Bench, tmp_path: Path) -> None:
    first = bench.fine_tune(tmp_path, epochs=1)

    def never(*_: object) -> None:
        raise AssertionError

    assert bench.fine_tune(tmp_path, never, epochs=1) == first


def test_the_best_epoch_is_kept_and_training_stops_early(bench: Bench, tmp_path: Path) -> None:
    found = bench.fine_tune(tmp_path, epochs=30, early_stopping_patience=2)
    scores = [entry["eval_macro_f1"] for entry in found.curve if "eval_macro_f1" in entry]
    assert found.best_macro_f1 == max(scores)
    assert len(scores) < 30
    assert scores.index(max(scores)) == len(scores) - 3


def test_a_loss_that_is_no_number_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    bench = Bench(tmp_path, make_rows(200))
    file = bench.base.folder / "model.safetensors"
    broken = load_file(file)
    broken["encoder.layer.0.output.dense.bias"][0] = float("nan")
    save_file(broken, file, {"format": "pt"})
    with pytest.raises(InvalidArgumentError, match="became NaN at step 1;") as raised:
        bench.fine_tune(tmp_path)
    assert raised.value.violations[0].field == "config.learning_rate"


def test_a_frozen_backbone_stays_as_it_was(bench: Bench, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    found = bench.fine_tune(tmp_path, epochs=1, freeze_backbone_epochs=1)
    before = load_file(bench.base.folder / "model.safetensors")
    after = load_file(Path(found.checkpoint) / "model.safetensors")
    name = "encoder.layer.0.attention.self.query.weight"
    assert (before[name] == after[f"bert.{name}"]).all()
    thawed = bench.fine_tune(tmp_path / "thawed", freeze_backbone_epochs=1)
    after = load_file(Path(thawed.checkpoint) / "model.safetensors")
    assert (before[name] != after[f"bert.{name}"]).any()


@pytest.mark.parametrize(
    "config",
    [
        {"class_weights": True, "label_smoothing": 0.1},
        {"gradient_accumulation_steps": 4},
        {"epochs": 5.5},
    ],
)
def test_options_still_learn(bench: Bench, tmp_path: Path, config: dict[str, Any]) -> None:
    assert bench.fine_tune(tmp_path, **config).best_macro_f1 > 0.8


def test_texts_with_several_labels(tmp_path: Path) -> None:
    rows = [(text, f"{label}|long" if len(text) > 35 else label) for text, label in make_rows(200)]
    found = Bench(tmp_path, rows).fine_tune(tmp_path, epochs=20, class_weights=True)
    assert found.best_macro_f1 > 0.6


def test_a_failed_export_registers_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: Any, _: object) -> None:
        (request.folder / "half").write_text("written")
        raise GateFailedError("the ONNX model decides otherwise")

    monkeypatch.setattr(pipeline, "export_version", fail)
    registry = Registry(tmp_path)
    events: list[Event] = []
    with pytest.raises(GateFailedError):
        pipeline.run_training(
            data=bench.file,
            meta=bench.meta,
            model="films",
            config=TrainingConfig(base_model=str(bench.base.folder), epochs=1, max_length=32),
            registry=registry,
            work_dir=tmp_path / "work",
            listener=events.append,
        )
    with pytest.raises(ModelNotFoundError):
        registry.versions("films")
    assert list((tmp_path / "models" / "films").iterdir()) == []


def test_gate_texts_are_topped_up_from_training_only_where_they_are_few(bench: Bench) -> None:
    few = choose_gate_texts(bench.rows, 0)
    assert few.source == "30 validation + 30 test + 140 training texts"
    assert few.rows[few.validation] == bench.rows.validation
    assert few.rows[few.test] == bench.rows.test
    many = Split(list(range(9000)), list(range(9000, 9600)), list(range(9600, 10000)))
    enough = choose_gate_texts(many, 0)
    assert enough.source == "600 validation + 400 test texts"
    assert enough.rows == [*many.validation, *many.test]


def test_calibration_texts_hold_each_label_in_its_share(bench: Bench) -> None:
    examples = Examples(
        texts=["x"] * 4000,
        label_ids=[(int(row % 4 == 0),) for row in range(4000)],
        labels=["a", "b"],
        multi_label=False,
    )
    rows = calibration_rows(examples, list(range(4000)), 0)
    assert len(rows) == len(set(rows)) == 300
    assert sum(examples.label_ids[row][0] for row in rows) == 75
