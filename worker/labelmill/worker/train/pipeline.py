"""Data set in, registered version out: the steps in order, and what one hands to the next.

Owns no step itself. Nothing is registered unless every step succeeded.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from labelmill.errors import InvalidArgumentError
from labelmill.names import check_model_name
from labelmill.registry import Manifest, Registry
from labelmill.registry.dataset_check import DatasetMeta
from labelmill.registry.manifest import REPORT_FILE
from labelmill.training import Stage, TrainingConfig
from labelmill.worker.export.pipeline import export_version
from labelmill.worker.export.request import ExportRequest, ExportResult
from labelmill.worker.train.base import resolve_base_model
from labelmill.worker.train.baseline import Baseline, train_baseline
from labelmill.worker.train.calibrate import Calibration, calibrate
from labelmill.worker.train.diagnose import diagnose_curve, diagnose_result
from labelmill.worker.train.events import Listener, Notifier
from labelmill.worker.train.examples import Examples, read_examples
from labelmill.worker.train.finetune import FineTuned, fine_tune
from labelmill.worker.train.outcome import Outcome, judge
from labelmill.worker.train.record import Finished, GateTexts, Prepared
from labelmill.worker.train.report import build_report, describe
from labelmill.worker.train.split import Split, split
from labelmill.worker.train.workspace import remove_checkpoints, run_folder

#: Where validation and test hold fewer texts, the gates add training texts up to as many.
_GATE_TEXTS = 1000

#: Training texts that the ranges of INT8 are measured on.
_CALIBRATION_TEXTS = 300

#: Share of the training texts that are cut off, from which on it is worth a warning.
_TRUNCATED_SHARE = 0.05


def run_training(
    *,
    data: Path,
    meta: DatasetMeta,
    model: str,
    config: TrainingConfig,
    registry: Registry,
    work_dir: Path,
    listener: Listener,
) -> Manifest:
    """Trains, exports, proves and registers a version.

    Started again with the same arguments and work folder it goes on where it was.

    Args:
        data: the data set's file.
        meta: its description.
        model: name of the model that the version will belong to.
        config: what to train; None values take defaults.
        registry: where the version goes.
        work_dir: for checkpoints, which are kept when the run breaks off.
        listener: told of progress and warnings.

    Raises:
        DatasetError: the data cannot be trained on.
        InvalidArgumentError: a bad model name or configuration.
        GateFailedError: the exported model decides otherwise than the trained one.
        OSError: the disk is full or not writable.
    """
    check_model_name(model)
    return _Run(model, registry, work_dir, Notifier(listener)).run(data, meta, config)


class _Run:
    def __init__(self, model: str, registry: Registry, work_dir: Path, notifier: Notifier) -> None:
        self._model = model
        self._registry = registry
        self._work_dir = work_dir
        self._notifier = notifier
        self._seconds: dict[str, float] = {}

    def run(self, data: Path, meta: DatasetMeta, config: TrainingConfig) -> Manifest:
        with self._timed("total"):
            with self._timed("prepare"):
                prepared = self._prepare(data, meta, config)
            with self._timed("baseline"):
                baseline = self._baseline(prepared)
            folder = run_folder(self._work_dir, meta.id, prepared.hyper)
            with self._timed("fine-tune"):
                fine_tuned = self._fine_tune(prepared, folder)
        with self._registry.stage(self._model, self._work_dir.name) as staging:
            with self._timed("total"):
                gate_texts = choose_gate_texts(prepared.split, prepared.hyper.seed)
                with self._timed("export"):
                    exported = self._export(prepared, fine_tuned, gate_texts, staging.path)
                with self._timed("judge"):
                    calibration, fp32, int8 = self._judge(prepared, gate_texts, exported)
            finished = Finished(
                model=self._model,
                prepared=prepared,
                baseline=baseline,
                fine_tuned=fine_tuned,
                gate_texts=gate_texts,
                exported=exported,
                calibration=calibration,
                fp32=fp32,
                int8=int8,
                warnings=self._notifier.warnings,
                seconds=self._seconds,
            )
            self._warn_of_result(finished)
            self._notifier.tell("report", "Writing the report.")
            report = json.dumps(build_report(finished), indent=2, ensure_ascii=False)
            (staging.path / REPORT_FILE).write_text(report + "\n", encoding="utf-8")
            self._notifier.tell("register", "Registering the version.")
            manifest = staging.publish(describe(finished))
        self._notifier.tell("register", f"{self._model}@{manifest.version} is there.", done=1.0)
        remove_checkpoints(self._work_dir)
        return manifest

    def _prepare(self, data: Path, meta: DatasetMeta, config: TrainingConfig) -> Prepared:
        tell = self._notifier.tell
        tell("validate", f"Reading {meta.row_count:,} rows with {len(meta.labels)} labels.")
        base = resolve_base_model(config.base_model)
        if config.max_length > base.max_tokens:
            raise InvalidArgumentError.at(
                "config.max_length",
                f"is {config.max_length}, but {base.name!r} reads {base.max_tokens} tokens at most",
            )
        examples = read_examples(data, meta)
        for warning in examples.warnings:
            self._notifier.warn("validate", warning, done=1.0)
        rows = split(examples.label_ids, len(examples.labels), config.seed)
        self._warn_of_gaps(examples, rows)
        hyper = config.resolve(
            parameters=base.parameters,
            labels=len(examples.labels),
            training_rows=len(rows.train),
        )
        tell(
            "split",
            f"{len(rows.train):,} texts to train with, {len(rows.validation):,} to validate, "
            f"{len(rows.test):,} to test.",
            done=1.0,
        )
        return Prepared(meta, base, examples, rows, hyper)

    def _warn_of_gaps(self, examples: Examples, rows: Split) -> None:
        """Only texts with several labels each can leave a label out of a part."""
        for part, members in rows._asdict().items():
            present = {label for row in members for label in examples.label_ids[row]}
            missing = [name for i, name in enumerate(examples.labels) if i not in present]
            if missing:
                self._notifier.warn(
                    "split", f"No {part} text has the label {', '.join(map(repr, missing[:3]))}."
                )

    def _baseline(self, prepared: Prepared) -> Baseline:
        self._notifier.tell("baseline", "Fitting TF-IDF with logistic regression.")
        baseline = train_baseline(prepared.examples, prepared.split, prepared.hyper.seed)
        self._notifier.tell(
            "baseline",
            f"TF-IDF with logistic regression: validation accuracy "
            f"{baseline.validation.accuracy:.3f}, macro-F1 {baseline.validation.macro_f1:.3f}.",
            done=1.0,
            metrics={
                "baseline_accuracy": baseline.validation.accuracy,
                "baseline_macro_f1": baseline.validation.macro_f1,
            },
        )
        return baseline

    def _fine_tune(self, prepared: Prepared, folder: Path) -> FineTuned:
        base, hyper = prepared.base, prepared.hyper
        self._notifier.tell(
            "fine-tune",
            f"Fine-tuning {base.name} ({base.parameters / 1e6:.0f} M parameters), "
            f"{hyper.epochs:g} epochs at {hyper.learning_rate:g}.",
        )
        fine_tuned = fine_tune(
            base,
            prepared.examples,
            prepared.split,
            hyper,
            folder,
            lambda message, done, metrics: self._notifier.tell(
                "fine-tune", message, done=done, metrics=metrics
            ),
        )
        truncated = fine_tuned.truncated_texts / len(prepared.split.train)
        if truncated > _TRUNCATED_SHARE:
            self._notifier.warn(
                "fine-tune",
                f"{truncated:.0%} of the training texts are longer than {hyper.max_length} tokens "
                "and were cut; a higher max_length reads more of them.",
                done=1.0,
            )
        for hint in diagnose_curve(fine_tuned.curve, hyper):
            self._notifier.warn("fine-tune", hint, done=1.0)
        return fine_tuned

    def _export(
        self, prepared: Prepared, fine_tuned: FineTuned, gate_texts: GateTexts, folder: Path
    ) -> ExportResult:
        examples = prepared.examples
        sample = calibration_rows(examples, prepared.split.train, prepared.hyper.seed)
        request = ExportRequest(
            checkpoint=Path(fine_tuned.checkpoint),
            folder=folder,
            labels=examples.labels,
            problem_type="multi_label" if examples.multi_label else "single_label",
            max_length=prepared.hyper.max_length,
            calibration_texts=examples.texts_of(sample),
            gate_texts=examples.texts_of(gate_texts.rows),
            gate_targets=examples.targets(gate_texts.rows),
            gate_source=gate_texts.source,
            test_rows=gate_texts.test,
        )
        stages: dict[str, Stage] = {name: name for name in get_args(Stage)}
        exported = export_version(
            request, lambda stage, message: self._notifier.tell(stages[stage], message)
        )
        if "onnx-int8" not in exported.engines:
            failed = [gate for gate in exported.gates if not gate.passed]
            named = ", ".join(f"{g.name} {g.value:.4g} against {g.limit:g}" for g in failed)
            self._notifier.warn(
                "gates",
                f"The INT8 model failed what it had to prove ({named}); the version is served by "
                "onnx-fp32.",
                done=1.0,
            )
        return exported

    def _judge(
        self, prepared: Prepared, gate_texts: GateTexts, exported: ExportResult
    ) -> tuple[Calibration, Outcome, Outcome | None]:
        examples = prepared.examples
        default = exported.fp32_logits if exported.int8_logits is None else exported.int8_logits
        self._notifier.tell("calibrate", "Fitting temperature and thresholds on validation.")
        targets = examples.targets(gate_texts.rows)
        calibration = calibrate(default[gate_texts.validation], targets[gate_texts.validation])
        test = gate_texts.test
        fp32 = judge(exported.fp32_logits[test], targets[test], examples.labels, calibration)
        int8 = None
        if exported.int8_logits is not None:
            int8 = judge(exported.int8_logits[test], targets[test], examples.labels, calibration)
        figures = (int8 or fp32).evaluation
        self._notifier.tell(
            "evaluate",
            f"On {figures.texts:,} test texts: accuracy {figures.accuracy:.3f}, macro-F1 "
            f"{figures.macro_f1:.3f}.",
            done=1.0,
            metrics={"test_accuracy": figures.accuracy, "test_macro_f1": figures.macro_f1},
        )
        return calibration, fp32, int8

    def _warn_of_result(self, run: Finished) -> None:
        hints = diagnose_result(
            run.served.evaluation,
            run.baseline.test,
            run.prepared.hyper,
            run.seconds["fine-tune"],
            run.fine_tuned.device,
        )
        for hint in hints:
            self._notifier.warn("evaluate", hint, done=1.0)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        passed = time.perf_counter() - start
        self._seconds[step] = self._seconds.get(step, 0.0) + passed


def choose_gate_texts(rows: Split, seed: int) -> GateTexts:
    """Validation and test rows, topped up to 1,000 by training rows: agreement needs no labels."""
    held_out = [*rows.validation, *rows.test]
    missing = min(max(0, _GATE_TEXTS - len(held_out)), len(rows.train))
    extra = random.Random(seed).sample(rows.train, missing)  # noqa: S311
    source = f"{len(rows.validation)} validation + {len(rows.test)} test"
    if missing:
        source += f" + {missing} training"
    return GateTexts(
        rows=[*held_out, *extra],
        validation=slice(0, len(rows.validation)),
        test=slice(len(rows.validation), len(held_out)),
        source=source + " texts",
    )


def calibration_rows(examples: Examples, train: list[int], seed: int) -> list[int]:
    """Training rows to measure INT8 ranges on, at most 300, each label in its share."""
    shuffled = random.Random(seed).sample(train, len(train))  # noqa: S311
    by_label = sorted(shuffled, key=lambda row: examples.label_ids[row])
    count = min(_CALIBRATION_TEXTS, len(by_label))
    return [by_label[i * len(by_label) // count] for i in range(count)]
