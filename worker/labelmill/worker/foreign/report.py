"""The report of an import and the description of its version, as plain data.

Sections that a trained version's report has too are made by the same functions.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from labelmill.registry import Description
from labelmill.worker.export.decisions import decide
from labelmill.worker.foreign.record import Imported
from labelmill.worker.train.report import (
    gates_section,
    hardware_section,
    library_versions,
    outcome_section,
)


def build_report(run: Imported) -> dict[str, Any]:
    """All about an import, JSON types only."""
    judged, found = run.judged, run.source.checkpoint
    return {
        "model": run.request.model,
        "source": run.source.facts(),
        "base_model": {
            "name": str(found.folder),
            "architecture": found.architecture,
            "parameters": found.parameters,
        },
        "labels": run.source.labels,
        "max_length": run.normal.max_length,
        "texts": _texts(run),
        "test": None
        if judged is None
        else {
            "fp32": outcome_section(judged.fp32),
            "int8": None if judged.int8 is None else outcome_section(judged.int8),
        },
        "gates": gates_section(run.exported),
        "calibration": None if judged is None else dataclasses.asdict(judged.calibration),
        "seconds": run.seconds["total"],
        "seconds_by_step": run.seconds,
        "warnings": run.warnings,
        "export": run.exported.details,
        "engines": run.exported.engines,
        "int8": run.exported.int8,
        "hardware": hardware_section(),
        "versions": library_versions(),
    }


def describe(run: Imported) -> Description:
    """The version's manifest, but for what the registry adds."""
    judged, request = run.judged, run.request
    calibration = None if judged is None else judged.calibration
    evaluations = {}
    if judged is not None:
        evaluations["fp32"] = judged.fp32.evaluation
        if judged.int8 is not None:
            evaluations["int8"] = judged.int8.evaluation
    return Description(
        base_model=str(request.source_directory),
        architecture=run.source.checkpoint.architecture,
        labels=run.source.labels,
        problem_type=run.source.problem_type,
        max_length=run.normal.max_length,
        pad_token_id=run.normal.pad_token_id,
        temperature=1.0 if calibration is None else calibration.temperature,
        threshold=0.0 if calibration is None else calibration.threshold,
        label_thresholds=None if calibration is None else calibration.label_thresholds,
        engines=run.exported.engines,
        int8=run.exported.int8,
        gates=run.exported.gates,
        metrics={
            f"{engine}.{name}": getattr(figures, name)
            for engine, figures in evaluations.items()
            for name in ("accuracy", "macro_f1")
        },
        training={
            "job": request.job,
            "imported_from": str(request.source_directory),
            "seconds": run.seconds["total"],
        },
        versions=library_versions(),
    )


def _texts(run: Imported) -> dict[str, Any]:
    sample = run.sample
    given = decide(run.exported.torch_logits, run.source.problem_type).sum(axis=0)
    counts = dict(zip(run.source.labels, map(int, given), strict=True))
    known = sample.targets is not None
    return {
        "given": len(run.request.calibration_texts),
        "labels_known": known,
        "ranges": {"texts": len(sample.ranges), "source": sample.ranges_source},
        "gates": {"texts": len(sample.gates), "source": sample.gates_source},
        "validation": len(range(*sample.validation.indices(len(sample.gates)))),
        "test": len(range(*sample.test.indices(len(sample.gates)))),
        # What the gates could see: labels that no text got are not proven.
        "labels_given_by_checkpoint": counts,
        "judged_by": (
            "right labels"
            if known
            else "the checkpoint's own answers: agreement of labels, noise of logits, independence "
            "of the batch; no accuracy and no F1, as nobody gave the right labels"
        ),
    }
