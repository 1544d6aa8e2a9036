"""Writes results in input order: columns ``id,text,label,score,error``.

A writer knows how many bytes are safely written, so that a later run can cut the file back there
and go on. Parquet cannot be continued, because its index is written last: it starts over.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from labelmill.client.cli.output import SCORE_DIGITS
from labelmill.client.cli.table.formats import Format, import_parquet

_COLUMNS = ("id", "text", "label", "score", "error")


class Scored(NamedTuple):
    """One row of the output."""

    id: str
    text: str
    #: None, as the score, when `error` is set.
    label: str | None
    score: float | None
    #: ``REASON: message``.
    error: str | None


class Writer(ABC):
    """Appends rows to a binary file; `begin` writes what stands before the first row."""

    #: Whether a file can be continued in another process.
    continuable = True
    #: What stands before the first row.
    header = b""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self) -> None:
        """Starts a new file; a continued one has this behind it."""
        self._file.write(self.header)

    @abstractmethod
    def write(self, rows: Sequence[Scored]) -> None:
        """Appends rows."""

    def flush(self) -> int:
        """Hands everything written to the operating system and returns the file's length."""
        self._file.flush()
        return self._file.tell()

    def finish(self) -> None:
        """Writes what stands after the last row."""
        self.flush()

    def abandon(self) -> None:  # noqa: B027 - most writers hold nothing but the file
        """Lets go of the file, which the caller closes; `finish` may have come before."""


class CsvWriter(Writer):
    """RFC 4180 with a header line, UTF-8; the fields of a failed text are empty."""

    header = ",".join(_COLUMNS).encode() + b"\n"

    def write(self, rows: Sequence[Scored]) -> None:
        """One line a row, but for line breaks within texts."""
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(
            (r.id, r.text, r.label, _rounded(r.score), r.error) for r in rows
        )
        self._file.write(text.getvalue().encode())


class JsonlWriter(Writer):
    """One JSON object a line; absent values are null."""

    def write(self, rows: Sequence[Scored]) -> None:
        """One line a row."""
        for row in rows:
            record = row._replace(score=_rounded(row.score))._asdict()
            self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


class TxtWriter(Writer):
    """Tab-separated without a header; tabs and line breaks within a field become spaces."""

    def write(self, rows: Sequence[Scored]) -> None:
        """One line a row."""
        for row in rows:
            cells = row._replace(score=_rounded(row.score))
            fields = (" ".join(str("" if cell is None else cell).splitlines()) for cell in cells)
            line = "\t".join(field.replace("\t", " ") for field in fields)
            self._file.write(line.encode() + b"\n")


class ParquetWriter(Writer):
    """Columns as strings, the score as double; absent values are null."""

    continuable = False

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._pyarrow, parquet = import_parquet()
        string = self._pyarrow.string()
        self._schema = self._pyarrow.schema(
            [(c, self._pyarrow.float64() if c == "score" else string) for c in _COLUMNS]
        )
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._pending: list[Scored] = []

    def write(self, rows: Sequence[Scored]) -> None:
        """Gathers rows into row groups worth their overhead."""
        self._pending += rows
        if len(self._pending) >= _ROW_GROUP_ROWS:
            self._write_group()

    def finish(self) -> None:
        """The last row group and the index."""
        if self._pending:
            self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        """Closes pyarrow's writer, which would otherwise write into the closed file."""
        self._writer.close()

    def _write_group(self) -> None:
        records = [row._replace(score=_rounded(row.score))._asdict() for row in self._pending]
        self._writer.write_table(self._pyarrow.Table.from_pylist(records, self._schema))
        self._pending = []


#: Rows of a Parquet row group.
_ROW_GROUP_ROWS = 16_384

WRITERS: dict[Format, type[Writer]] = {
    Format.CSV: CsvWriter,
    Format.JSONL: JsonlWriter,
    Format.PARQUET: ParquetWriter,
    Format.TXT: TxtWriter,
}


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, SCORE_DIGITS)
