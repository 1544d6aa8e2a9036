"""The HTML file that a benchmark writes: checked before the run, written after it."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from labelmill.client.cli import output
from labelmill.errors import InvalidArgumentError


def check(path: Path, option: str) -> None:
    """Raises InvalidArgumentError where `path`, given with `option`, cannot be written."""
    folder = path.parent
    if path.is_dir():
        raise InvalidArgumentError.at(option, f"{path} is a folder; name a file")
    if not folder.is_dir():
        raise InvalidArgumentError.at(option, f"there is no folder {folder}; create it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InvalidArgumentError.at(option, f"{path} may not be written by this user")


def write(path: Path, html: str) -> None:
    """Writes the page. What was measured is printed by then, so a failure only ends with 1."""
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        output.report_problem("PAGE", f"{path}: {error.strerror}", as_json=False)
        raise typer.Exit(1) from error
    output.note(f"page: {path}")
