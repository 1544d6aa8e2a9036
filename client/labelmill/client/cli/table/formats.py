"""Which format a file has, by its name or by what the user says."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from labelmill.errors import FailedPreconditionError, InvalidArgumentError


class Format(StrEnum):
    """A format that `labelmill score` reads and writes."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    TXT = "txt"


_BY_SUFFIX = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".txt": Format.TXT,
}


def format_of(path: Path, field: str, option: str) -> Format:
    """The format that the extension stands for.

    Raises:
        InvalidArgumentError: it stands for none; names `field` and the `option` that would say it.
    """
    known = _BY_SUFFIX.get(path.suffix.lower())
    if known is None:
        raise InvalidArgumentError.at(
            field,
            f"{path} has an unknown extension {path.suffix!r}; use {', '.join(_BY_SUFFIX)}, or "
            f"say what it is with {option}",
        )
    return known


def import_parquet() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet, which only Parquet needs.

    Raises:
        FailedPreconditionError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise FailedPreconditionError(
            "Parquet needs pyarrow, which is not installed; pip install pyarrow, or use csv or "
            "jsonl"
        ) from error
    return pa, parquet
