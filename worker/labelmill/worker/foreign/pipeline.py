"""Foreign directory in, registered version out: the steps in order, and what one hands to the next.

Owns no step itself. Nothing is registered unless every step succeeded.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np

from labelmill.errors import (
    ArtifactCorruptError,
    FailedPreconditionError,
    GateFailedError,
    ModelNotFoundError,
)
from labelmill.names import check_model_name
from labelmill.registry import Manifest, Registry
from labelmill.registry.manifest import REPORT_FILE
from labelmill.training import Stage
from labelmill.worker.export.decisions import decide
from labelmill.worker.export.gates import failures
from labelmill.worker.export.pipeline import export_version
from labelmill.worker.export.request import ExportRequest, ExportResult
from labelmill.worker.foreign import sample
from labelmill.worker.foreign.normal import Normal, differing_texts, normalize
from labelmill.worker.foreign.record import Imported, Judged
from labelmill.worker.foreign.report import build_report, describe
from labelmill.worker.foreign.request import ImportRequest
from labelmill.worker.foreign.sample import Sample
from labelmill.worker.foreign.source import Source, read_source
from labelmill.worker.train.calibrate import calibrate
from labelmill.worker.train.events import Listener, Notifier
from labelmill.worker.train.outcome import judge
from labelmill.worker.train.workspace import import_folder, remove_checkpoints

#: Colours in what the exporter says.
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

#: Characters of it that are passed on.
_MOST_SAID = 200

#: Shares of an import that are done when a step begins and ends, by time.
_SPANS: dict[Stage, tuple[float, float]] = {
    "validate": (0.0, 0.05),
    "export": (0.05, 0.3),
    "gates": (0.3, 0.4),
    "quantize": (0.4, 0.95),
    "calibrate": (0.95, 0.96),
    "evaluate": (0.96, 0.98),
    "report": (0.98, 0.99),
    "register": (0.99, 1.0),
}


def run_import(
    request: ImportRequest, *, registry: Registry, work_dir: Path, listener: Listener
) -> Manifest:
    """Checks, exports, proves and registers a checkpoint.

    Started again with the same job it starts anew, or returns the version that it registered.

    Args:
        request: what to import.
        registry: where the version goes.
        work_dir: for files on the way.
        listener: told of progress and warnings.

    Raises:
        InvalidArgumentError: the directory, a calibration label or max_length is not fit.
        FailedPreconditionError: the architecture cannot be exported.
        GateFailedError: the exported model decides otherwise than the checkpoint.
        OSError: the disk is full or not writable.
    """
    check_model_name(request.model)
    if (done := _registered(request, registry)) is not None:
        return done
    return _Run(request, registry, work_dir, Notifier(listener, _SPANS)).run()


def _registered(request: ImportRequest, registry: Registry) -> Manifest | None:
    """The version that an earlier attempt registered before its worker was lost."""
    try:
        numbers = registry.versions(request.model)
    except ModelNotFoundError:
        return None
    for number in reversed(numbers):
        try:
            manifest = registry.manifest(request.model, number)
        except ArtifactCorruptError:
            # Another version's trouble; whoever uses that one will be told.
            continue
        if manifest.training.get("job") == request.job:
            return manifest
    return None


class _Run:
    def __init__(
        self, request: ImportRequest, registry: Registry, work_dir: Path, notifier: Notifier
    ) -> None:
        self._request = request
        self._registry = registry
        self._work_dir = work_dir
        self._notifier = notifier
        self._seconds: dict[str, float] = {}

    def run(self) -> Manifest:
        request = self._request
        with self._timed("total"), self._timed("validate"):
            source, normal, chosen = self._validate()
        with self._registry.stage(request.model, self._work_dir.name) as staging:
            with self._timed("total"):
                with self._timed("export"):
                    exported = self._export(source, normal, chosen, staging.path)
                with self._timed("judge"):
                    judged = self._judge(source, chosen, exported)
            imported = Imported(
                request=request,
                source=source,
                normal=normal,
                sample=chosen,
                exported=exported,
                judged=judged,
                warnings=self._notifier.warnings,
                seconds=self._seconds,
            )
            self._notifier.tell("report", "Writing the report.")
            report = json.dumps(build_report(imported), indent=2, ensure_ascii=False)
            (staging.path / REPORT_FILE).write_text(report + "\n", encoding="utf-8")
            self._notifier.tell("register", "Registering the version.")
            manifest = staging.publish(describe(imported))
        self._notifier.tell("register", f"{request.model}@{manifest.version} is there.", done=1.0)
        remove_checkpoints(self._work_dir)
        return manifest

    def _validate(self) -> tuple[Source, Normal, Sample]:
        request, notifier = self._request, self._notifier
        notifier.tell("validate", f"Looking over {request.source_directory}.")
        source = read_source(request.source_directory)
        # Before any weights are read: a slip in a label is told at once.
        chosen = sample.choose(
            request.calibration_texts,
            request.calibration_labels,
            source.labels,
            multi_label=source.multi_label,
        )
        found = source.checkpoint
        notifier.tell(
            "validate",
            f"Loading a {found.architecture} of {found.parameters / 1e6:.0f} M parameters with "
            f"{len(source.labels)} labels.",
            done=0.3,
        )
        normal = normalize(source, import_folder(self._work_dir), request.max_length)
        for warning in [*source.warnings, *normal.warnings, *chosen.warnings]:
            notifier.warn("validate", warning, done=1.0)
        if differ := differing_texts(source, normal, chosen.gates):
            notifier.warn(
                "validate",
                f"transformers reads {differ} of {len(chosen.gates)} texts otherwise than the "
                "checkpoint's tokenizer.json by itself; as in a Hugging Face pipeline, the way of "
                "transformers counts.",
                done=1.0,
            )
        return source, normal, chosen

    def _export(self, source: Source, normal: Normal, chosen: Sample, folder: Path) -> ExportResult:
        request = ExportRequest(
            checkpoint=normal.folder,
            folder=folder,
            labels=source.labels,
            problem_type=source.problem_type,
            max_length=normal.max_length,
            calibration_texts=chosen.ranges,
            gate_texts=chosen.gates,
            gate_targets=chosen.targets,
            gate_source=chosen.gates_source,
            test_rows=chosen.test,
        )
        stages: dict[str, Stage] = {name: name for name in get_args(Stage)}
        try:
            exported = export_version(
                request, lambda stage, message: self._notifier.tell(stages[stage], message)
            )
        except (GateFailedError, OSError):
            raise
        except Exception as error:
            # What is raised on a model that exporter or runtime do not understand may be anything.
            raise FailedPreconditionError(
                f"a model of type {source.checkpoint.architecture!r} cannot be exported here "
                f"({_in_short(error)}); architectures of the BERT family can"
            ) from error
        if exported.int8 is None:
            failed = failures([gate for gate in exported.gates if gate.name.startswith("int8.")])
            hint = (
                " Built-in texts are not those that it was made for, so it may decide them by a "
                "hair; give calibration texts like those to classify, and import again."
                if chosen.built_in
                else ""
            )
            self._notifier.warn(
                "gates",
                f"No INT8 model is published: {failed}. The version is served by onnx-fp32.{hint}",
                done=1.0,
            )
        self._warn_of_labels(source, exported)
        return exported

    def _warn_of_labels(self, source: Source, exported: ExportResult) -> None:
        labels = len(source.labels)
        given = decide(exported.torch_logits, source.problem_type)
        count = int(np.count_nonzero(given.any(axis=0)))
        if count == 1 or 2 * count < labels:
            self._notifier.warn(
                "gates",
                f"The checkpoint gave the texts of the gates only {count} of its {labels} "
                "labels, so the gates say little about the others; give calibration texts like "
                "those to classify.",
                done=1.0,
            )

    def _judge(self, source: Source, chosen: Sample, exported: ExportResult) -> Judged | None:
        targets = chosen.targets
        if targets is None:
            return None
        default = exported.fp32_logits if exported.int8_logits is None else exported.int8_logits
        self._notifier.tell("calibrate", "Fitting temperature and thresholds on given texts.")
        validation, test = chosen.validation, chosen.test
        calibration = calibrate(default[validation], targets[validation])
        fp32 = judge(exported.fp32_logits[test], targets[test], source.labels, calibration)
        int8 = None
        if exported.int8_logits is not None:
            int8 = judge(exported.int8_logits[test], targets[test], source.labels, calibration)
        figures = (int8 or fp32).evaluation
        self._notifier.tell(
            "evaluate",
            f"On {figures.texts:,} given texts: accuracy {figures.accuracy:.3f}, macro-F1 "
            f"{figures.macro_f1:.3f}.",
            done=1.0,
            metrics={"test_accuracy": figures.accuracy, "test_macro_f1": figures.macro_f1},
        )
        missing = [row.label for row in figures.classes if not row.support]
        if missing:
            self._notifier.warn(
                "evaluate",
                f"None of these texts has the label {', '.join(map(repr, missing[:3]))}"
                f"{f' or {len(missing) - 3} others' if len(missing) > 3 else ''}, which counts as "
                "an F1 of 0.",
                done=1.0,
            )
        return Judged(calibration, fp32, int8)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        passed = time.perf_counter() - start
        self._seconds[step] = self._seconds.get(step, 0.0) + passed


def _in_short(error: Exception) -> str:
    first = _ESCAPES.sub("", str(error)).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:_MOST_SAID]}"
