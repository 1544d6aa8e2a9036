"""The report of a run and the description of its version: everything measured, as plain data.

report.json has at its top level what `labelmill train --json` prints (see docs).
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from labelmill.registry import Description
from labelmill.worker import cpu
from labelmill.worker.export.request import ExportResult
from labelmill.worker.train.evaluate import Evaluation
from labelmill.worker.train.outcome import Outcome
from labelmill.worker.train.record import Finished

#: Libraries whose versions decide what a model looks like.
_LIBRARIES = (
    "labelmill",
    "torch",
    "transformers",
    "tokenizers",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "scikit-learn",
    "numpy",
)


def build_report(run: Finished) -> dict[str, Any]:
    """All about a run, JSON types only."""
    return {
        "model": run.model,
        "baseline": _figures(run.baseline.test),
        "test": {
            "fp32": outcome_section(run.fp32),
            "int8": None if run.int8 is None else outcome_section(run.int8),
        },
        "gates": gates_section(run.exported),
        "seconds": run.seconds["total"],
        "seconds_by_step": run.seconds,
        "warnings": run.warnings,
        "dataset": _dataset(run),
        "config": run.prepared.hyper.model_dump(),
        "base_model": {
            "name": run.prepared.base.name,
            "architecture": run.prepared.base.architecture,
            "parameters": run.prepared.base.parameters,
        },
        "training": {
            "best_macro_f1": run.fine_tuned.best_macro_f1,
            "steps": run.fine_tuned.steps,
            "resumed_from_step": run.fine_tuned.resumed_from_step,
            "device": run.fine_tuned.device,
            "precision": run.fine_tuned.precision,
            "curve": run.fine_tuned.curve,
        },
        "calibration": dataclasses.asdict(run.calibration),
        "export": run.exported.details,
        "engines": run.exported.engines,
        "int8": run.exported.int8,
        "hardware": hardware_section(),
        "versions": library_versions(),
    }


def describe(run: Finished) -> Description:
    """The version's manifest, but for what the registry adds."""
    prepared = run.prepared
    metrics = {"baseline": run.baseline.test, "fp32": run.fp32.evaluation}
    if run.int8 is not None:
        metrics["int8"] = run.int8.evaluation
    return Description(
        base_model=prepared.base.name,
        architecture=prepared.base.architecture,
        labels=prepared.examples.labels,
        problem_type="multi_label" if prepared.examples.multi_label else "single_label",
        max_length=prepared.hyper.max_length,
        pad_token_id=run.fine_tuned.pad_token_id,
        temperature=run.calibration.temperature,
        threshold=run.calibration.threshold,
        label_thresholds=run.calibration.label_thresholds,
        engines=run.exported.engines,
        int8=run.exported.int8,
        gates=run.exported.gates,
        metrics={
            f"{engine}.{name}": getattr(figures, name)
            for engine, figures in metrics.items()
            for name in ("accuracy", "macro_f1")
        },
        training={
            "dataset_id": prepared.meta.id,
            "config": prepared.hyper.model_dump(),
            "rows": _rows(run),
            "seconds": run.seconds["total"],
        },
        versions=library_versions(),
    )


def outcome_section(outcome: Outcome) -> dict[str, Any]:
    """One engine's figures on the test split."""
    rest: dict[str, Any] = dataclasses.asdict(outcome)
    figures: Mapping[str, Any] = rest.pop("evaluation")
    return {**figures, **rest}


def gates_section(exported: ExportResult) -> dict[str, Any]:
    """What the export had to prove, and on which texts."""
    values = {gate.name: gate.value for gate in exported.gates}
    int8 = exported.int8_logits
    return {
        "label_agreement": values.get("int8.label_agreement"),
        "batch_flips": values.get("int8.batch_flips"),
        "max_abs_dlogit": (
            None if int8 is None else float(np.abs(int8 - exported.fp32_logits).max())
        ),
        "size_ratio": values.get("int8.size_ratio"),
        "passed": "int8.label_agreement" in values and all(g.passed for g in exported.gates),
        "checks": [gate.model_dump() | {"passed": gate.passed} for gate in exported.gates],
        "texts": exported.details["gate_texts"],
        "source": exported.details["gate_source"],
    }


def hardware_section() -> dict[str, Any]:
    """The machine that made the version."""
    return {
        "cpu": cpu.cpu_name(),
        "cores": cpu.usable_cores(),
        "instruction_sets": cpu.instruction_sets(),
    }


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that made a model."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    return dataclasses.asdict(evaluation)


def _dataset(run: Finished) -> dict[str, Any]:
    examples = run.prepared.examples
    return {
        "id": run.prepared.meta.id,
        "name": run.prepared.meta.display_name,
        "rows": run.prepared.meta.row_count,
        "texts": len(examples),
        "duplicates": examples.duplicates,
        "conflicts": examples.conflicts,
        "multi_label": examples.multi_label,
        "labels": [count.model_dump() for count in run.prepared.meta.labels],
        "split": _rows(run),
        "truncated_training_texts": run.fine_tuned.truncated_texts,
    }


def _rows(run: Finished) -> dict[str, int]:
    return {name: len(rows) for name, rows in run.prepared.split._asdict().items()}
