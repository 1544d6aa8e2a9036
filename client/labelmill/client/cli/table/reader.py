"""Reads texts from a file, row by row; every mistake in it is named by line.

Texts are kept as they are: a result row carries the very text of its input row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from labelmill.client._wire.classification import MAX_TEXT_BYTES, check_text
from labelmill.client._wire.upload import MAX_ID_BYTES
from labelmill.client.cli.table.formats import Format, format_of, import_parquet
from labelmill.errors import InvalidArgumentError

#: What errors call the file.
FIELD = "INPUT"

#: Rows read from Parquet at a time.
_PARQUET_ROWS = 4096


class Row(NamedTuple):
    """One row of the input."""

    id: str
    text: str


class Table:
    """A file of texts that can be read any number of times.

    Raises:
        InvalidArgumentError: the file does not exist, or its format is unknown.
    """

    def __init__(
        self, path: Path, *, text_column: str, id_column: str | None, file_format: Format | None
    ) -> None:
        if not path.is_file():
            found = "is a directory" if path.is_dir() else "does not exist"
            raise InvalidArgumentError.at(FIELD, f"{path} {found}; give a file of texts")
        self.path = path
        self.format = file_format or format_of(path, FIELD, "--input-format")
        if self.format is Format.TXT and id_column:
            raise InvalidArgumentError.at(
                "--id-column", f"{path} is a txt file, which has no columns; leave the option out"
            )
        self._text_column = text_column
        self._id_column = id_column

    def fingerprint(self) -> dict[str, Any]:
        """What tells this file from another or from a later state of itself."""
        stat = self.path.stat()
        return {
            "path": str(self.path.resolve()),
            "bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
            "text_column": self._text_column,
            "id_column": self._id_column,
        }

    def rows(self, start: int = 0) -> Iterator[Row]:
        """The rows from index `start` on; ids are row numbers unless there is a column of them.

        Raises:
            InvalidArgumentError: the file is not what its format says; names the line.
            FailedPreconditionError: pyarrow is missing for a Parquet file.
        """
        for index, (text, row_id) in enumerate(self._pairs()):
            if index >= start:
                yield Row(str(index) if row_id is None else row_id, text)

    def count(self) -> int:
        """Reads the whole file once and returns its number of rows.

        Raises:
            InvalidArgumentError: as `rows`; a text or an id is too long; there is no row.
        """
        rows = 0
        for row in self.rows():
            check_text(row.text, f"{FIELD} row {rows}")
            if len(row.id.encode()) > MAX_ID_BYTES:
                raise InvalidArgumentError.at(
                    "--id-column", f"the id of row {rows} has over {MAX_ID_BYTES} bytes"
                )
            rows += 1
        if not rows:
            raise InvalidArgumentError.at(FIELD, f"{self.path} holds no text")
        return rows

    def _pairs(self) -> Iterator[tuple[str, str | None]]:
        if self.format is Format.PARQUET:
            yield from self._parquet()
            return
        try:
            with self.path.open("rb") as stream:
                lines = _decoded(stream)
                if self.format is Format.TXT:
                    for line in lines:
                        yield line.removesuffix("\n").removesuffix("\r"), None
                elif self.format is Format.CSV:
                    yield from self._csv(lines)
                else:
                    yield from self._jsonl(lines)
        except OSError as error:
            raise _bad(f"{self.path} cannot be read: {error.strerror}") from error

    def _csv(self, lines: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        csv.field_size_limit(4 * MAX_TEXT_BYTES)
        reader = csv.reader(lines, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            pick = self._picker(header)
            for record in reader:
                if not record:
                    continue
                if len(record) != len(header):
                    raise _bad(
                        f"line {reader.line_num} has {len(record)} fields, the header has "
                        f"{len(header)}; put texts with commas or line breaks in double quotes"
                    )
                yield pick(record)
        except csv.Error as error:
            raise _bad(
                f"line {reader.line_num} is not CSV ({error}); inside a quoted text a double "
                'quote is written twice ("")'
            ) from error

    def _picker(self, header: Sequence[str]) -> Callable[[Sequence[str]], tuple[str, str | None]]:
        self._require(header)
        text_at = header.index(self._text_column)
        if self._id_column is None:
            return lambda record: (record[text_at], None)
        id_at = header.index(self._id_column)
        return lambda record: (record[text_at], record[id_at])

    def _jsonl(self, lines: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise _bad(f"line {number} is not JSON ({error}); write one object a line") from (
                    error
                )
            if not isinstance(record, dict):
                raise _bad(f"line {number} is no JSON object but a {type(record).__name__}")
            self._require(list(record))
            yield self._cells(record[self._text_column], record.get(self._id_column), number)

    def _parquet(self) -> Iterator[tuple[str, str | None]]:
        pyarrow, parquet = import_parquet()
        columns = [self._text_column, *([self._id_column] if self._id_column else [])]
        number = 0
        try:
            with parquet.ParquetFile(self.path) as file:
                self._require(file.schema_arrow.names)
                for batch in file.iter_batches(_PARQUET_ROWS, columns=columns):
                    texts = batch.column(self._text_column).to_pylist()
                    ids = (
                        batch.column(self._id_column).to_pylist()
                        if self._id_column
                        else [None] * len(texts)
                    )
                    for text, row_id in zip(texts, ids, strict=True):
                        yield self._cells(text, row_id, number)
                        number += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise _bad(f"{self.path} cannot be read as Parquet: {error}") from error

    def _cells(self, text: Any, row_id: Any, number: int) -> tuple[str, str | None]:
        if text is None:
            text = ""
        if not isinstance(text, str):
            raise _bad(
                f"column {self._text_column!r} of line {number} is a {type(text).__name__}; it "
                "must hold text"
            )
        if self._id_column is None:
            return text, None
        return text, "" if row_id is None else str(row_id)

    def _require(self, found: Sequence[str]) -> None:
        wanted = {"--text-column": self._text_column, "--id-column": self._id_column}
        for option, name in wanted.items():
            if name is not None and name not in found:
                columns = ", ".join(map(repr, found[:20])) or "none"
                raise InvalidArgumentError.at(
                    option, f"{self.path} has no column {name!r}; the columns found are {columns}"
                )


def _decoded(stream: BinaryIO) -> Iterator[str]:
    for number, raw in enumerate(stream, 1):
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            utf16 = number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff")
            guess = " (it looks like UTF-16)" if utf16 else ""
            raise _bad(
                f"line {number} is not UTF-8{guess}, from its byte {error.start} on; save the "
                "file as UTF-8, e.g. with iconv"
            ) from error


def _bad(description: str) -> InvalidArgumentError:
    return InvalidArgumentError.at(FIELD, description)
