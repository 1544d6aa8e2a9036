"""What commands print: results on stdout, everything else on stderr.

With --json stdout holds exactly one JSON document, also when the command fails.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from labelmill.errors import LabelmillError

#: Digits after the point of probabilities and other shares; more would be float32 noise.
SCORE_DIGITS = 6

#: Width of tables that no terminal shows, so that scripts get one row a line.
_UNBOUNDED = 10_000

# Texts of users go through these: nothing in them is markup.
stdout = Console(
    markup=False,
    emoji=False,
    highlight=False,
    width=None if sys.stdout.isatty() else _UNBOUNDED,
)
stderr = Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: dataclasses as objects, times as ISO 8601, no NaN."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return _rounded(value) if math.isfinite(value) else None
    return value


def _rounded(value: float) -> float:
    """Six digits after the point, or six significant ones of what is smaller than 1."""
    return round(value, SCORE_DIGITS) if abs(value) >= 1 else float(f"{value:.{SCORE_DIGITS}g}")


def document(value: Any) -> None:
    """Prints `value` as the command's one JSON document."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def table(*columns: str, title: str | None = None) -> Table:
    """A table in the house style; columns that start with ``>`` are right-aligned.

    Only the last column is folded when the terminal is narrow.
    """
    made = Table(title=title, box=None, title_justify="left", header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
            no_wrap=column is not columns[-1],
        )
    return made


def show(renderable: Any) -> None:
    """Prints a table or a text for people on stdout."""
    stdout.print(renderable)


def note(text: str) -> None:
    """Prints a line for people on stderr."""
    stderr.print(Text(text))


def warn(text: str) -> None:
    """Prints a warning on stderr."""
    stderr.print(Text.assemble(("warning: ", "bold yellow"), text))


def report_error(error: LabelmillError, *, as_json: bool) -> None:
    """Prints `error` with its fields and hints; with --json also as the document."""
    hints = [
        f"{v.field}: {v.description}"
        for v in error.violations
        if v.description not in error.message
    ]
    if error.retry_after_s:
        hints.append(f"try again in {math.ceil(error.retry_after_s)} s")
    report_problem(
        error.reason,
        error.message,
        as_json=as_json,
        hints=hints,
        fields={v.field: v.description for v in error.violations},
    )


def report_problem(
    reason: str,
    message: str,
    *,
    as_json: bool,
    hints: list[str] | None = None,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Prints ``error: message`` and the hints; with --json also a document with `fields`."""
    stderr.print(Text.assemble(("error: ", "bold red"), message))
    for hint in hints or ():
        note(f"  {hint}")
    if as_json:
        document({"error": {"reason": reason, "message": message, "fields": fields or {}}})


class RateColumn(ProgressColumn):
    """Steps a second since the start."""

    def render(self, task: Task) -> Text:
        """The rate, or nothing before the first step."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


def progress(unit: str = "") -> Progress:
    """A progress bar on stderr with count, rate and time left; silent when stderr is no terminal.

    Args:
        unit: what is counted, e.g. ``texts``; empty shows a share in percent.
    """
    counted = (MofNCompleteColumn(), TextColumn(unit), RateColumn())
    share = (TextColumn("{task.percentage:>3.0f}%"),)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        *(counted if unit else share),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    )
