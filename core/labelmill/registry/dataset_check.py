"""What makes a file of labelled rows fit to train on, and the description of one that is.

De-duplicating and splitting belong to training, the file formats to
labelmill.registry.dataset_file.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from labelmill.errors import DatasetError, FieldViolation, InvalidArgumentError
from labelmill.names import UNKNOWN
from labelmill.registry.dataset_file import (
    FORMATS,
    LABEL_SEPARATOR,
    Format,
    bad_data,
    read_rows,
    split_labels,
)

#: Rows that each label needs: one for training, one for validation, one for the test.
LEAST_ROWS_PER_LABEL = 3

#: Most distinct labels of a data set.
MAX_LABELS = 1000

#: Longest label, in characters.
MAX_LABEL_CHARS = 200

#: Line numbers, labels and the like named in one message.
_NAMED = 5


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetHeader(_Frozen):
    """How to read a data set's bytes."""

    format: Format
    text_column: str = "text"
    label_column: str = "label"
    display_name: str = ""

    @classmethod
    def checked(
        cls, file_format: str, text_column: str = "", label_column: str = "", display_name: str = ""
    ) -> DatasetHeader:
        """A header from a request; empty columns take their defaults.

        Raises:
            InvalidArgumentError: unknown format, or both columns are the same.
        """
        if file_format not in FORMATS:
            raise InvalidArgumentError.at(
                "header.format", f"{file_format!r} is no format; use one of {', '.join(FORMATS)}"
            )
        text_column, label_column = text_column or "text", label_column or "label"
        if text_column == label_column:
            raise InvalidArgumentError.at(
                "header.label_column", f"is {label_column!r} as text_column is; name two columns"
            )
        return cls(
            format=file_format,
            text_column=text_column,
            label_column=label_column,
            display_name=display_name,
        )


class LabelCount(_Frozen):
    """How many rows carry a label."""

    label: str
    count: int


class DatasetMeta(DatasetHeader):
    """A checked data set."""

    id: str
    size_bytes: int
    row_count: int = Field(description="rows with a text")
    multi_label: bool = Field(description="whether a row has several labels")
    labels: list[LabelCount] = Field(description="most frequent first")
    empty_texts: int = Field(0, description="rows without a text, which training skips")


def inspect_file(path: Path, header: DatasetHeader, dataset_id: str) -> DatasetMeta:
    """Reads every row of `path` and describes the data set.

    Raises:
        DatasetError: malformed data, an empty label, one label only, a label with fewer than
            LEAST_ROWS_PER_LABEL rows, or a label column that looks like text.
    """
    counts: Counter[str] = Counter()
    rows = empty_texts = 0
    unlabelled: list[int] = []
    multi_label = False
    for row in read_rows(path, header.format, header.text_column, header.label_column):
        if not row.text:
            empty_texts += 1
            continue
        rows += 1
        multi_label = multi_label or LABEL_SEPARATOR in row.label
        labels = split_labels(row.label)
        if not labels:
            unlabelled.append(row.line)
        for label in labels:
            _check_label(label, row.line)
        if "\0" in row.text:
            raise bad_data(f"the text of line {row.line} holds a NUL character; remove it")
        counts.update(labels)
        if len(counts) > MAX_LABELS:
            break
    if not rows:
        raise bad_data("there is no row with a text; give at least three a label")
    if unlabelled:
        raise _label_error(
            f"{len(unlabelled)} rows have no label (lines {_some(unlabelled)}); "
            "label them or leave them out"
        )
    _check_counts(counts, rows, header)
    return DatasetMeta(
        **header.model_dump(),
        id=dataset_id,
        size_bytes=path.stat().st_size,
        row_count=rows,
        multi_label=multi_label,
        labels=[LabelCount(label=label, count=n) for label, n in counts.most_common()],
        empty_texts=empty_texts,
    )


def _check_label(label: str, line: int) -> None:
    if len(label) > MAX_LABEL_CHARS:
        raise _label_error(
            f"the label of line {line} has {len(label)} characters, at most {MAX_LABEL_CHARS} are "
            "allowed; is the label column the right one?"
        )
    if label == UNKNOWN:
        raise _label_error(
            f"line {line} has the label {UNKNOWN}, which is what answers below the threshold get; "
            "rename it"
        )
    if not label.isprintable():
        raise _label_error(f"the label of line {line} holds control characters: {label!r}")


def _check_counts(counts: Counter[str], rows: int, header: DatasetHeader) -> None:
    if len(counts) * 2 > rows and len(counts) > 2:
        raise _label_error(
            f"column {header.label_column!r} has {len(counts)} distinct values in {rows} rows, so "
            "it looks like free text; name the columns with text_column and label_column "
            "(are they swapped?)"
        )
    if len(counts) > MAX_LABELS:
        raise _label_error(f"there are more than {MAX_LABELS} labels; merge rare ones")
    if len(counts) == 1:
        raise _label_error(
            f"every row has the label {next(iter(counts))!r}; a classifier needs at least two"
        )
    rare = {label: n for label, n in counts.items() if n < LEAST_ROWS_PER_LABEL}
    if rare:
        named = [f"{label!r} ({n})" for label, n in rare.items()]
        raise _label_error(
            f"too few rows of {_some(named)}; each label needs at least {LEAST_ROWS_PER_LABEL}, "
            "one each to train, to validate and to test with (better 30 or more): add rows, merge "
            "the label with another or leave it out"
        )


def _label_error(description: str) -> DatasetError:
    return DatasetError(
        f"labels: {description}", violations=[FieldViolation("header.label_column", description)]
    )


def _some(items: list[int] | list[str]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(str(item) for item in items[:_NAMED]) + more
