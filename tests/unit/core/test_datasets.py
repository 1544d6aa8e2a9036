from __future__ import annotations

import json
from pathlib import Path

import pytest

from labelmill.errors import (
    ArtifactCorruptError,
    DatasetError,
    DatasetNotFoundError,
    InvalidArgumentError,
    OverloadedError,
)
from labelmill.registry import datasets
from labelmill.registry.dataset_check import DatasetHeader, DatasetMeta
from labelmill.registry.dataset_file import read_rows
from labelmill.registry.datasets import DatasetStore

ROWS = "".join(f"text {i},{'yes' if i % 2 else 'no'}\n" for i in range(10))
CSV = f"text,label\n{ROWS}".encode()


def upload(
    store: DatasetStore, data: bytes, file_format: str = "csv", text: str = "", label: str = ""
) -> DatasetMeta:
    with store.begin() as writer:
        for start in range(0, len(data), 7):
            writer.write(data[start : start + 7])
        return writer.finish(DatasetHeader.checked(file_format, text, label, "mine.csv"))


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path)


def files(tmp_path: Path) -> list[str]:
    return sorted(str(p.relative_to(tmp_path / "datasets")) for p in tmp_path.rglob("*"))[1:]


def test_a_data_set_is_stored_whole_and_found_again(store: DatasetStore, tmp_path: Path) -> None:
    meta = upload(store, CSV)
    assert store.get(meta.id) == meta
    assert store.path(meta.id).read_bytes() == CSV
    assert (meta.row_count, meta.size_bytes, meta.display_name) == (10, len(CSV), "mine.csv")
    assert {count.label: count.count for count in meta.labels} == {"yes": 5, "no": 5}
    assert files(tmp_path) == [meta.id, f"{meta.id}/data.csv", f"{meta.id}/meta.json"]


def test_the_same_bytes_give_the_same_data_set_but_other_columns_another(
    store: DatasetStore,
) -> None:
    data = CSV.replace(b"text,label", b"text,kind")
    first = upload(store, data, label="kind")
    assert upload(store, data, label="kind") == first
    renamed = CSV.replace(b"text,label", b"text,sort")
    assert upload(store, renamed, label="sort").id != first.id


def test_a_broken_upload_leaves_nothing(store: DatasetStore, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        upload(store, b"a,b\n1,2\n")
    with store.begin() as writer:
        writer.write(CSV)
    assert files(tmp_path) == []


def test_an_id_never_leaves_the_folder(store: DatasetStore) -> None:
    upload(store, CSV)
    for bad in ("", "0" * 64, "../../etc", "." * 64):
        with pytest.raises(DatasetNotFoundError, match="upload it again"):
            store.get(bad)


def test_an_altered_data_set_is_refused(store: DatasetStore) -> None:
    meta = upload(store, CSV)
    with store.path(meta.id).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ArtifactCorruptError, match="bytes instead of"):
        store.get(meta.id)


def test_too_large_a_data_set_is_refused_while_it_comes(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MAX_DATASET_BYTES", 1 << 30)
    with store.begin() as writer:
        writer.size_bytes = 1 << 30
        with pytest.raises(OverloadedError, match="more than 1 GiB"):
            writer.write(b"x")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"text,label\n", "no row with a text"),
        (b"a,b\n1,2\n", "no column 'text' and 'label'; the columns found are 'a', 'b'"),
        (b"text,kind\n1,2\n", "no column 'label'; the columns found are 'text', 'kind'"),
        (b"text,label\nok,a\nab\xffc,b\n", r"byte 18 \(line 3\) is not UTF-8"),
        ("text,label\n".encode("utf-16"), "UTF-16"),
        (b"text,label\na\0b,x\n", "line 2 holds a NUL"),
        (b"text,label\none, two,x\n", "line 2 has 3 fields, the header has 2"),
        (b'text,label\n"never closed,x\n', "line 2 is not CSV"),
        (b"text,label\n" + b"a,x\n" * 9, "every row has the label 'x'"),
        (CSV + b"lonely,maybe\n", r"too few rows of 'maybe' \(1\)"),
        (CSV + b"unlabelled,\nagain, \n", r"2 rows have no label \(lines 12, 13\)"),
        (CSV + b"x," + b"l" * 201 + b"\n", "has 201 characters"),
        (CSV + b"x,UNKNOWN\n", "rename it"),
        (b"label,text\n" + b"".join(b"yes,t %d\n" % i for i in range(9)), "every row|free text"),
        (
            b"text,label\n" + b"".join(b"yes,this is text %d\n" % i for i in range(9)),
            "9 distinct values in 9 rows, so it looks like free text",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused_by_name(
    store: DatasetStore, data: bytes, says: str
) -> None:
    columns = ("label", "text") if data.startswith(b"label,text") else ("", "")
    with pytest.raises(DatasetError, match=says) as raised:
        upload(store, data, text=columns[0], label=columns[1])
    assert raised.value.violations
    assert {v.field for v in raised.value.violations} <= {
        "data",
        "header.text_column",
        "header.label_column",
    }


def test_bad_headers_are_refused_by_field() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        DatasetHeader.checked("xlsx")
    assert [v.field for v in raised.value.violations] == ["header.format"]
    with pytest.raises(InvalidArgumentError, match="name two columns"):
        DatasetHeader.checked("csv", "label", "label")


def test_rows_without_a_text_are_counted_and_skipped(store: DatasetStore) -> None:
    meta = upload(store, CSV + b",yes\n  ,no\n")
    assert (meta.row_count, meta.empty_texts) == (10, 2)


def test_csv_with_a_byte_order_mark_quotes_and_line_breaks(store: DatasetStore) -> None:
    data = b"\xef\xbb\xbf" + CSV + b'"two\nlines, ""quoted""",yes\n\n'
    path = store.path(upload(store, data).id)
    last = list(read_rows(path, "csv", "text", "label"))[-1]
    assert last.text == 'two\nlines, "quoted"'
    assert last.line == 13


def test_jsonl_takes_numbers_and_lists_as_labels(store: DatasetStore) -> None:
    rows = [{"text": f"t{i}", "label": 1 if i % 2 else ["1", "0"]} for i in range(8)]
    data = "\n".join(map(json.dumps, rows)).encode()
    meta = upload(store, data, "jsonl")
    assert meta.multi_label
    assert {count.label: count.count for count in meta.labels} == {"1": 8, "0": 4}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"[1]", "line 1 is no JSON object but list"),
        (b"{", "line 1 is not JSON"),
        (b'{"text": "a"}', "no column 'label'"),
        (b'{"text": 5, "label": "a"}', "the text of line 1 is no string but int"),
        (b'{"text": "a", "label": 1.5}', "the label of line 1 is a float"),
        (b'{"text": "a\\u0000", "label": "b"}', "NUL"),
    ],
)
def test_malformed_jsonl_is_refused_by_line(store: DatasetStore, line: bytes, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        upload(store, line + b"\n", "jsonl")


def test_parquet(store: DatasetStore, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "x.parquet"
    table = {"text": [f"t{i}" for i in range(9)] + [None], "label": ["a", "b"] * 5}
    parquet.write_table(pa.table(table), file)
    meta = upload(store, file.read_bytes(), "parquet")
    assert (meta.row_count, meta.empty_texts) == (9, 1)
    rows = list(read_rows(store.path(meta.id), "parquet", "text", "label"))
    assert [row.line for row in rows] == list(range(1, 11))
    parquet.write_table(pa.table({"text": ["a"]}), file)
    with pytest.raises(DatasetError, match="no column 'label'"):
        upload(store, file.read_bytes(), "parquet")
    with pytest.raises(DatasetError, match="cannot be read as Parquet"):
        upload(store, b"PAR1 but not really", "parquet")
