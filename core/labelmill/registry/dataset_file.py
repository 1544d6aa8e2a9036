"""Reads labelled rows from CSV, JSONL and Parquet files as a stream.

Owns the three formats and their mistakes: encoding, columns, quoting. What makes a set of rows fit
to train on is labelmill.registry.datasets' matter.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, get_args

from labelmill.errors import DatasetError, FieldViolation

Format = Literal["csv", "jsonl", "parquet"]

FORMATS: tuple[Format, ...] = get_args(Format)

#: Stands between the labels of a text that has several.
LABEL_SEPARATOR = "|"

#: Rows read from Parquet at a time.
_PARQUET_BATCH_ROWS = 4096


class Row(NamedTuple):
    """One row as the file has it; text or label may be empty."""

    text: str
    label: str
    #: Line of the file, from 1; for Parquet the row.
    line: int


def split_labels(label: str) -> tuple[str, ...]:
    """``"a|b"`` → ``("a", "b")``: distinct, stripped, in the order given."""
    parts = (part.strip() for part in label.split(LABEL_SEPARATOR))
    return tuple(dict.fromkeys(part for part in parts if part))


def guess_format(name: str) -> Format | None:
    """The format that a file name's ending stands for, None when it stands for none."""
    ending = Path(name).suffix.lower().removeprefix(".")
    return {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}.get(ending)  # type: ignore[return-value]


def read_rows(
    path: Path, file_format: Format, text_column: str, label_column: str
) -> Iterator[Row]:
    """Yields the rows of `path`, labels and texts stripped of surrounding white space.

    Raises:
        DatasetError: the file is not what `file_format` says, lacks a column, is not UTF-8 or holds
            a malformed row; the message says where and what to do.
    """
    if path.stat().st_size == 0:
        raise bad_data("the file is empty; it needs a header line and one row a text")
    if file_format == "parquet":
        yield from _parquet(path, text_column, label_column)
        return
    with path.open("rb") as stream:
        lines = _decoded(stream)
        read = _csv if file_format == "csv" else _jsonl
        yield from read(lines, text_column, label_column)


def bad_data(description: str) -> DatasetError:
    """An error of the data's content."""
    return DatasetError(f"data: {description}", violations=[FieldViolation("data", description)])


def _missing_columns(found: Sequence[str], text_column: str, label_column: str) -> DatasetError:
    wanted = {"header.text_column": text_column, "header.label_column": label_column}
    missing = {field: name for field, name in wanted.items() if name not in found}
    have = ", ".join(repr(name) for name in found[:20]) or "none"
    names = " and ".join(repr(name) for name in missing.values())
    description = (
        f"there is no column {names}; the columns found are {have}. Name the right ones "
        "with text_column and label_column (--text-column and --label-column)"
    )
    return DatasetError(description, violations=[FieldViolation(f, description) for f in missing])


def _decoded(stream: BinaryIO) -> Iterator[str]:
    offset = 0
    for number, raw in enumerate(stream, 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            utf16 = number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff")
            guess = "; it looks like UTF-16" if utf16 else ""
            raise bad_data(
                f"byte {offset + error.start} (line {number}) is not UTF-8{guess}; "
                "save the file as UTF-8"
            ) from error
        if "\0" in line:
            raise bad_data(f"line {number} holds a NUL byte; remove it or save the file as UTF-8")
        offset += len(raw)
        yield line


def _csv(lines: Iterable[str], text_column: str, label_column: str) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if text_column not in header or label_column not in header:
            raise _missing_columns(header, text_column, label_column)
        text_at, label_at = header.index(text_column), header.index(label_column)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise bad_data(
                    f"line {reader.line_num} has {len(row)} fields, the header has {len(header)}; "
                    "put texts that hold commas or line breaks in double quotes"
                )
            yield Row(row[text_at].strip(), row[label_at].strip(), reader.line_num)
    except csv.Error as error:
        raise bad_data(
            f"line {reader.line_num} is not CSV ({error}); check the double quotes there: inside "
            'a quoted text each is written twice ("")'
        ) from error


def _jsonl(lines: Iterable[str], text_column: str, label_column: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise bad_data(
                f"line {number} is not JSON ({error}); write one object a line"
            ) from error
        if not isinstance(record, dict):
            raise bad_data(
                f"line {number} is no JSON object but {type(record).__name__}; write one object a "
                f'line, e.g. {{"{text_column}": "...", "{label_column}": "..."}}'
            )
        if text_column not in record or label_column not in record:
            raise _missing_columns(list(record), text_column, label_column)
        yield _row(record[text_column], record[label_column], number)


def _parquet(path: Path, text_column: str, label_column: str) -> Iterator[Row]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise bad_data(
            "reading Parquet needs pyarrow, which is not installed here; "
            "pip install 'labelmill[server]' or send CSV or JSONL"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if text_column not in names or label_column not in names:
                raise _missing_columns(names, text_column, label_column)
            first = 1
            columns = [text_column, label_column]
            for batch in file.iter_batches(_PARQUET_BATCH_ROWS, columns=columns):
                texts, labels = (batch.column(name).to_pylist() for name in columns)
                for number, (text, label) in enumerate(zip(texts, labels, strict=True), first):
                    yield _row(text, label, number)
                first += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise bad_data(f"the file cannot be read as Parquet: {error}") from error


def _row(text: Any, label: Any, line: int) -> Row:
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise bad_data(f"the text of line {line} is no string but {type(text).__name__}")
    if isinstance(label, list) and all(isinstance(part, str) for part in label):
        label = LABEL_SEPARATOR.join(label)
    elif isinstance(label, int):
        label = str(label)
    elif label is None:
        label = ""
    if not isinstance(label, str):
        raise bad_data(
            f"the label of line {line} is a {type(label).__name__}; use a string, a whole number "
            "or a list of strings"
        )
    return Row(text.strip(), label.strip(), line)
