"""A new version as people and scripts see it: figures, gates, report."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from labelmill.client import ModelVersion
from labelmill.client.cli import output

#: Keys of a report that `train --json` passes on.
_REPORT_KEYS = ("baseline", "test", "gates", "seconds")

#: Keys of a report that `models import --json` passes on.
_IMPORT_KEYS = ("source", "texts", "test", "gates", "warnings", "seconds")


def report_path(version: ModelVersion) -> str:
    """Where the version's report.json lies, as the server sees it."""
    return f"{version.location}/report.json"


def summary(version: ModelVersion) -> dict[str, Any]:
    """The document of `train --json`."""
    report = version.report or {}
    return {
        "model": version.model,
        "version": version.version,
        "report": report_path(version),
        **{key: report[key] for key in _REPORT_KEYS if key in report},
    }


def import_summary(version: ModelVersion) -> dict[str, Any]:
    """The document of `models import --json`."""
    report = version.report or {}
    return {
        "model": version.model,
        "version": version.version,
        "report": report_path(version),
        "labels": version.labels,
        "multi_label": version.multi_label,
        "max_length": version.max_length,
        "threshold": version.threshold,
        "engines": version.engines,
        **{key: report[key] for key in _IMPORT_KEYS if key in report},
    }


def judged_by(version: ModelVersion) -> str:
    """How an import without right labels was judged."""
    texts = (version.report or {}).get("texts", {})
    return f"judged by {texts.get('judged_by', 'its gates')}"


def figures_table(version: ModelVersion) -> Table:
    """Accuracy and macro-F1 on the test split: baseline if there is one, fp32, INT8."""
    report = version.report or {}
    table = output.table("test set", ">accuracy", ">macro-F1")
    origin = "fine-tuned" if "baseline" in report else "imported"
    test = report.get("test") or {}
    rows = {
        "TF-IDF + logistic regression": report.get("baseline"),
        f"{origin}, fp32": test.get("fp32"),
        f"{origin}, INT8": test.get("int8"),
    }
    for name, figures in rows.items():
        if figures:
            table.add_row(name, _share(figures.get("accuracy")), _share(figures.get("macro_f1")))
    return table


def gates_table(version: ModelVersion) -> Table:
    """What the export had to prove."""
    table = output.table("gate", ">value", ">limit", "", title="gates")
    for gate in version.gates:
        sign = "≥" if gate.at_least else "≤"
        passed = Text("passed") if gate.passed else Text("failed", style="bold red")
        table.add_row(gate.name, f"{gate.value:.5g}", f"{sign} {gate.limit:.5g}", passed)
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
