"""`labelmill score`: formats, mistakes in files, breaks and resumption."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from unit.client.conftest import Ran
from unit.client.fake_server import FakeServer

from labelmill import errors
from labelmill.v1 import scoring_pb2 as pb

Cli = Callable[..., Ran]

TEXTS = ["a good film", "", 'bad, "very" bad', "good\nin two lines", "\tgood – naïve 🙂", "bad"]
REST = ["--model", "reviews", "--address"]
EXPECTED = ["positive", None, "negative", "positive", "positive", "negative"]


def write(path: Path, texts: list[str]) -> Path:
    """`texts` in the format that the extension says, with ids where there are columns."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["key", "text", "other"])
            writer.writerows([f"k{n}", text, "x"] for n, text in enumerate(texts))
    elif path.suffix == ".jsonl":
        lines = [json.dumps({"key": f"k{n}", "text": text}) for n, text in enumerate(texts)]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif path.suffix == ".parquet":
        columns = {"key": [f"k{n}" for n in range(len(texts))], "text": texts}
        parquet.write_table(pa.table(columns), path)
    else:
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, str | float | None]]:
    """The rows of an output, absent values as None."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    columns = ["id", "text", "label", "score", "error"]
    with path.open(newline="", encoding="utf-8") as file:
        if path.suffix == ".txt":
            rows = [dict(zip(columns, line[:-1].split("\t"), strict=True)) for line in file]
        else:
            reader = csv.DictReader(file)
            assert reader.fieldnames == columns
            rows = list(reader)
    for row in rows:
        row["label"], row["error"] = row["label"] or None, row["error"] or None
        row["score"] = float(row["score"]) if row["score"] else None
    return rows


@pytest.mark.parametrize("output", ["csv", "jsonl", "parquet", "txt"])
@pytest.mark.parametrize("source", ["csv", "jsonl", "parquet"])
def test_formats(cli: Cli, tmp_path: Path, source: str, output: str) -> None:
    given = write(tmp_path / f"in.{source}", TEXTS)
    out = tmp_path / f"out.{output}"
    ran = cli("score", given, "-o", out, "--model", "reviews", "--id-column", "key", "--json")
    assert ran.code == 3
    assert {
        "job",
        "total",
        "succeeded",
        "failed",
        "seconds",
        "texts_per_second",
    } <= ran.json.keys()
    assert (ran.json["total"], ran.json["succeeded"], ran.json["failed"]) == (6, 5, 1)
    rows = read(out)
    assert [row["id"] for row in rows] == [f"k{n}" for n in range(6)]
    assert [row["label"] for row in rows] == EXPECTED
    assert [row["score"] for row in rows] == [None if label is None else 0.75 for label in EXPECTED]
    assert rows[1]["error"] == "EMPTY_TEXT: the text is empty"
    if output != "txt":
        assert [row["text"] for row in rows] == TEXTS
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([given.name, out.name])


def test_lines_of_text(cli: Cli, tmp_path: Path) -> None:
    given = tmp_path / "in.txt"
    given.write_bytes("\ufeffgood\r\n\r\nbad, with, commas".encode())
    out = tmp_path / "out.csv"
    assert cli("score", given, "-o", out, "-m", "reviews").code == 3
    assert [(row["id"], row["text"]) for row in read(out)] == [
        ("0", "good"),
        ("1", ""),
        ("2", "bad, with, commas"),
    ]


def test_all_scored_is_exit_code_zero(cli: Cli, tmp_path: Path) -> None:
    given = write(tmp_path / "in.csv", ["good", "bad"])
    ran = cli("score", given, "-o", tmp_path / "out.csv", "-m", "reviews")
    assert ran.code == 0
    assert "2 of 2 texts scored by reviews@2 on onnx-int8" in ran.err
    assert ran.out == ""


def test_long_texts_pass(cli: Cli, tmp_path: Path) -> None:
    given = write(tmp_path / "in.csv", ["good " * 100_000])
    out = tmp_path / "out.jsonl"
    assert cli("score", given, "-o", out, "-m", "reviews").code == 0
    assert read(out)[0]["text"] == "good " * 100_000


BAD_INPUTS: list[tuple[str, bytes, list[str], str]] = [
    ("a.csv", b"text\ngood\nb\xe4d\n", [], "INPUT: line 3 is not UTF-8"),
    ("a.csv", "text\ngood".encode("utf-16"), [], "it looks like UTF-16"),
    ("a.csv", b"review,label\ngood,x\n", [], "the columns found are 'review', 'label'"),
    ("a.csv", b"text\ngood\n", ["--id-column", "key"], "--id-column: "),
    ("a.csv", b'text,n\n"good,1\nbad,2\n', [], "is not CSV"),
    ("a.csv", b"text,n\ngood, but,1\n", [], "line 2 has 3 fields, the header has 2"),
    ("a.csv", b"text\n", [], "holds no text"),
    ("a.csv", b"", [], "has no column 'text'; the columns found are none"),
    ("a.txt", b"", [], "holds no text"),
    ("a.txt", b"good\n", ["--id-column", "key"], "is a txt file, which has no columns"),
    ("a.txt", b"good\n" + b"x" * 1_100_000, [], "INPUT row 1: has 1,100,000 bytes"),
    ("a.jsonl", b'{"text": "good"}\n{"text": \n', [], "line 2 is not JSON"),
    ("a.jsonl", b'["good"]\n', [], "line 1 is no JSON object but a list"),
    ("a.jsonl", b'{"text": 7}\n', [], "column 'text' of line 1 is a int"),
    ("a.jsonl", b'{"text": "\\ud800"}\n', [], "INPUT row 0: is not valid Unicode"),
    ("a.jsonl", b'{"text": "a"}\n{"body": "b"}\n', [], "the columns found are 'body'"),
    ("a.parquet", b"PAR1 not really", [], "cannot be read as Parquet"),
    ("a.xlsx", b"PK", [], "unknown extension '.xlsx'; use .csv"),
]


@pytest.mark.parametrize(("name", "content", "options", "message"), BAD_INPUTS)
def test_mistakes_in_the_input_are_named(
    cli: Cli,
    fake: FakeServer,
    tmp_path: Path,
    name: str,
    content: bytes,
    options: list[str],
    message: str,
) -> None:
    given = tmp_path / name
    given.write_bytes(content)
    ran = cli("score", given, "-o", tmp_path / "out.csv", "-m", "reviews", *options)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) == 1
    assert message in ran.err
    assert fake.jobs == {}
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.xlsx", "--output: "),
        ("nosuch/out.csv", "cannot be written: No such file or directory"),
        ("folder.csv", "is a directory"),
        ("in.csv", "--output: is the input"),
    ],
)
def test_outputs_that_cannot_be_written(
    cli: Cli, fake: FakeServer, tmp_path: Path, output: str, message: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    given = write(tmp_path / "in.csv", ["good"])
    ran = cli("score", given, "-o", tmp_path / output, "-m", "reviews")
    assert ran.code == 2
    assert message in ran.err
    assert fake.jobs == {}


def test_an_unknown_model_leaves_nothing_behind(cli: Cli, tmp_path: Path) -> None:
    given = write(tmp_path / "in.csv", ["good"])
    ran = cli("score", given, "-o", tmp_path / "out.csv", "-m", "nosuch", "--json")
    assert ran.code == 1
    assert ran.json["error"]["reason"] == "MODEL_NOT_FOUND"
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


def many(count: int) -> list[str]:
    return [f"{'good' if n % 3 else 'bad'} {n}" for n in range(count)]


def assert_complete(path: Path, count: int) -> None:
    rows = read(path)
    assert [row["id"] for row in rows] == [str(n) for n in range(count)]
    assert [row["text"] for row in rows] == many(count)
    assert [row["label"] for row in rows] == [
        "positive" if n % 3 else "negative" for n in range(count)
    ]


def start(fake: FakeServer, given: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "labelmill.client.cli.main",
            "score",
            given,
            "-o",
            out,
            *REST,
            fake.address,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_broken_run_is_continued(
    cli: Cli, fake: FakeServer, tmp_path: Path, suffix: str, ending: signal.Signals
) -> None:
    given, out = write(tmp_path / "in.csv", many(10_000)), tmp_path / f"out.{suffix}"
    partial = out.with_name(f"{out.name}.partial")
    fake.overload_at, fake.hold_results_at = 8192, 3000
    with start(fake, given, out) as process:
        wait_for(lambda: fake.offsets[-1:] == [8192])
        # One batch at least is written when the last one that is ready was asked for.
        wait_for(lambda: partial.exists() and sum(fake.calls.values()) > 4)
        process.send_signal(ending)
        _, err = process.communicate(timeout=30)
    (job_id,) = fake.jobs
    if ending is signal.SIGINT:
        assert process.returncode == 130
        assert f"job {job_id} is not done yet; the same command goes on with it" in err
    assert not out.exists()
    fake.overload_at = fake.hold_results_at = None
    fake.offsets.clear()
    ran = cli("score", given, "-o", out, "-m", "reviews", "--json")
    assert ran.code == 0
    assert f"going on with job {job_id}" in ran.err
    assert ran.json["job"] == job_id
    assert ran.json["total"] == 10_000
    assert fake.offsets == [8192]
    assert list(fake.jobs) == [job_id]
    assert_complete(out, 10_000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", out.name]


def test_results_continue_where_they_were(cli: Cli, fake: FakeServer, tmp_path: Path) -> None:
    given, out = write(tmp_path / "in.csv", many(5000)), tmp_path / "out.csv"
    fake.hold_results_at = 3000
    with start(fake, given, out) as process:
        partial = out.with_name("out.csv.partial")
        expected = sum(len(f"{n},{t},negative,0.75,\n") for n, t in enumerate(many(3000)))
        # Rows go to the file in blocks: most of them are there when the last batch was written.
        wait_for(lambda: partial.exists() and partial.stat().st_size > expected - 20_000)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    written = json.loads(out.with_name("out.csv.labelmill.json").read_text())["rows"]
    assert 2000 <= written <= 3000
    fake.hold_results_at = None
    assert cli("score", given, "-o", out, "-m", "reviews").code == 0
    assert fake.resume_tokens[-1] == str(written)
    assert_complete(out, 5000)


def test_a_server_that_restarts_is_survived(cli: Cli, fake: FakeServer, tmp_path: Path) -> None:
    given, out = write(tmp_path / "in.csv", many(10_000)), tmp_path / "out.csv"
    fake.overload_at, fake.hold_results_at = 8192, 3000
    with start(fake, given, out) as process:
        wait_for(lambda: fake.offsets[-1:] == [8192])
        fake.stop()
        fake.overload_at = fake.hold_results_at = None
        fake.start()
        _, err = process.communicate(timeout=50)
    assert process.returncode == 0
    # gRPC's core keeps its remarks about closed connections to itself.
    assert [line for line in err.splitlines() if "texts scored" not in line] == []
    assert_complete(out, 10_000)


def test_a_server_that_forgot_some_texts_gets_them_again(
    cli: Cli, fake: FakeServer, tmp_path: Path
) -> None:
    given, out = write(tmp_path / "in.csv", many(10_000)), tmp_path / "out.csv"
    fake.overload_at, fake.hold_results_at = 8192, 3000
    with start(fake, given, out) as process:
        wait_for(lambda: fake.offsets[-1:] == [8192])
        with fake.changed:
            (job,) = fake.jobs.values()
            del job.items[5000:]
            fake.overload_at = fake.hold_results_at = None
            fake.settle(job)
        assert process.wait(50) == 0
    assert 5000 in fake.offsets
    assert_complete(out, 10_000)


def test_other_input_starts_over(cli: Cli, fake: FakeServer, tmp_path: Path) -> None:
    given, out = write(tmp_path / "in.csv", many(500)), tmp_path / "out.csv"
    fake.hold_results_at = 100
    with start(fake, given, out) as process:
        wait_for(lambda: len(fake.resume_tokens) > 0)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    fake.hold_results_at = None
    write(given, many(600))
    ran = cli("score", given, "-o", out, "-m", "reviews")
    assert ran.code == 0
    assert "starting over: job" in ran.err
    assert len(fake.jobs) == 2
    assert_complete(out, 600)


def test_a_cancelled_job_is_an_error_and_then_started_over(
    cli: Cli, fake: FakeServer, tmp_path: Path
) -> None:
    given, out = write(tmp_path / "in.csv", many(500)), tmp_path / "out.csv"
    fake.hold_results_at = 100
    with start(fake, given, out) as process:
        wait_for(lambda: any(job.message.sealed for job in fake.jobs.values()))
        with fake.changed:
            (job,) = fake.jobs.values()
            job.message.state = pb.JOB_STATE_CANCELLED
            del job.items[100:]
            fake.changed.notify_all()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"error: job {job.message.id} was cancelled" in err
    fake.hold_results_at = None
    ran = cli("score", given, "-o", out, "-m", "reviews")
    assert "ended as CANCELLED" in ran.err
    assert ran.code == 0
    assert_complete(out, 500)


def test_two_runs_do_not_write_one_output(cli: Cli, fake: FakeServer, tmp_path: Path) -> None:
    given, out = write(tmp_path / "in.csv", many(500)), tmp_path / "out.csv"
    fake.hold_results_at = 100
    with start(fake, given, out) as process:
        wait_for(lambda: len(fake.resume_tokens) > 0)
        ran = cli("score", given, "-o", out, "-m", "reviews")
        assert ran.code == 1
        assert "another `labelmill score` is writing" in ran.err
        fake.hold_results_at = None
        assert process.wait(30) == 0
    assert_complete(out, 500)


def test_an_input_that_changes_meanwhile_is_an_error(
    cli: Cli, fake: FakeServer, tmp_path: Path
) -> None:
    given, out = write(tmp_path / "in.csv", many(500)), tmp_path / "out.csv"
    fake.hold_results_at = 100
    with start(fake, given, out) as process:
        wait_for(lambda: len(fake.resume_tokens) > 0)
        os.utime(given, (1, 1))
        fake.hold_results_at = None
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "changed while it was scored; run the command again" in err
    assert not out.exists()


def test_a_full_queue_is_waited_for(cli: Cli, fake: FakeServer, tmp_path: Path) -> None:
    given, out = write(tmp_path / "in.csv", many(500)), tmp_path / "out.csv"
    full = errors.OverloadedError("the queue is full", retry_after_s=0.02)
    fake.fail("UploadScoringItems", full, full, full)
    assert cli("score", given, "-o", out, "-m", "reviews").code == 0
    assert_complete(out, 500)
