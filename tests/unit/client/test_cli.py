"""The commands as users run them: what stands on stdout, on stderr, and the exit code."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.client.fake_server import FakeServer, training_event

from labelmill import errors
from labelmill.client.cli.main import COMMANDS

SCRIPT = [
    training_event(1, "validate", progress=0.1, message="3 rows, 0 duplicates"),
    training_event(2, "fine-tune", progress=0.5, message="epoch 1", metrics={"loss": 0.5}),
    training_event(3, "fine-tune", progress=0.6, message="loss is not falling", warning=True),
    training_event(4, "register", "SUCCEEDED", progress=1.0, message="registered reviews@2"),
]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\na good film,positive\nbad,negative\n", encoding="utf-8")
    return file


def test_classify_prints_a_table(cli) -> None:
    ran = cli("classify", "a good [bold]film[/]", "bad", "--model", "reviews")
    assert ran.code == 0
    assert [line.split()[:2] for line in ran.out.splitlines()] == [
        ["label", "score"],
        ["positive", "0.750"],
        ["negative", "0.750"],
    ]
    assert "a good [bold]film[/]" in ran.out
    assert "reviews@2 on onnx-int8" in ran.err


def test_classify_json_has_the_promised_keys(cli) -> None:
    answer = cli("classify", "good", "--model", "reviews", "--json").json
    assert {"model", "version", "engine", "results", "queue_ms", "inference_ms"} <= answer.keys()
    (result,) = answer["results"]
    assert {"label", "score", "scores", "token_count", "truncated"} <= result.keys()
    assert result["scores"][1] == {"label": "negative", "score": 0.25}


def test_classify_reads_lines_from_stdin(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(b"good\nbad\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    answer = cli("classify", "-", "--model", "reviews", "--json").json
    assert [result["label"] for result in answer["results"]] == ["positive", "negative"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["classify", "good", "-m", "nosuch"], 1, "there is no model 'nosuch'"),
        (["classify", "good"], 2, "Missing option '--model'"),
        (["classify", *["x"] * 257, "-m", "reviews"], 2, "use `score` for many"),
        (["clasify"], 2, "Did you mean 'classify'?"),
        (["models", "rollback", "reviews"], 1, "RollbackModel comes with a later release"),
        (["models", "delete", "reviews", "1"], 1, "does not know this call"),
        (["jobs", "show", "nosuch"], 1, "there is no job 'nosuch'"),
        (["classify", "good", "-m", "reviews", "--address", "nowhere"], 2, "use host:port"),
        (["train", "nosuch.csv", "--name", "x"], 2, "cannot be read: No such file"),
        (["worker", "--threads", "few"], 2, "--threads: should be a valid integer"),
        (["server", "--drain-s=-1"], 2, "--drain-s: should be greater than or equal to 0"),
    ],
)
def test_errors_are_lines_with_the_right_exit_code(
    cli, args: list[str], code: int, message: str
) -> None:
    ran = cli(*args)
    assert ran.code == code
    assert ran.err.startswith("error: ")
    assert message in ran.err
    assert ran.out == ""


def test_errors_are_documents_with_json(cli) -> None:
    ran = cli("classify", *["x"] * 257, "-m", "reviews", "--json")
    assert ran.code == 2
    assert ran.json["error"]["reason"] == "INVALID_ARGUMENT"
    assert "texts" in ran.json["error"]["fields"]
    ran = cli("classify", "--json")
    assert ran.code == 2
    assert ran.json["error"]["reason"] == "USAGE"


def test_no_server_is_said_at_once(cli) -> None:
    ran = cli("models", "list", "--address", "127.0.0.1:1")
    assert ran.code == 1
    assert "start one with `labelmill up`" in ran.err


def test_overload_says_when_to_come_back(cli, fake: FakeServer) -> None:
    fake.fail("Classify", errors.OverloadedError("the queue is full", retry_after_s=2.5))
    ran = cli("classify", "good", "-m", "reviews")
    assert ran.code == 1
    assert ran.err.splitlines() == ["error: the queue is full", "  try again in 3 s"]


def test_train_shows_the_run_and_its_figures(cli, fake: FakeServer, reviews: Path) -> None:
    fake.training_script = SCRIPT
    ran = cli("train", reviews, "--name", "reviews", "--epochs", "2", "--class-weights")
    assert ran.code == 0
    assert "warning: loss is not falling" in ran.err
    assert "validate: 3 rows" in ran.err
    assert "int8.label_agreement" in ran.out
    assert "version reviews@2, report /registry/models/reviews/2/report.json" in ran.out
    (job,) = fake.training_jobs.values()
    assert job.config.epochs == 2
    assert job.config.class_weights


def test_train_json_has_the_promised_keys(cli, fake: FakeServer, reviews: Path) -> None:
    fake.training_script = SCRIPT
    answer = cli("train", reviews, "--name", "reviews", "--json").json
    assert answer == {
        "model": "reviews",
        "version": 2,
        "report": "/registry/models/reviews/2/report.json",
        "baseline": {"accuracy": 0.5, "macro_f1": 0.4},
        "test": {
            "fp32": {"accuracy": 0.9, "macro_f1": 0.89},
            "int8": {"accuracy": 0.9, "macro_f1": 0.88},
        },
        "gates": {
            "label_agreement": 0.997,
            "batch_flips": 0,
            "max_abs_dlogit": 0.2,
            "size_ratio": 0.26,
            "passed": True,
        },
        "seconds": 12.5,
    }


def test_train_detached_prints_the_job(cli, fake: FakeServer, reviews: Path) -> None:
    fake.training_script = SCRIPT
    job = cli("train", reviews, "--name", "reviews", "--detach", "--json").json
    assert job["state"] == "QUEUED"
    assert "register: registered reviews@2" in cli("jobs", "watch", job["job"]).err
    assert cli("jobs", "show", job["job"], "--json").json["training_job"]["version"] == 2


def test_train_that_fails_says_why(cli, fake: FakeServer, reviews: Path) -> None:
    fake.training_script = [training_event(1, "gates", "FAILED", message="labels differ")]
    ran = cli("train", reviews, "--name", "reviews", "--json")
    assert ran.code == 1
    assert ran.json["error"]["reason"] == "GATE_FAILED"
    assert "labels differ" in ran.json["error"]["message"]


def test_jobs_are_listed_watched_and_steered(cli, fake: FakeServer, reviews: Path) -> None:
    out = reviews.with_name("out.csv")
    scored = cli("score", reviews, "-o", out, "-m", "reviews", "--json").json["job"]
    trained = cli("train", reviews, "--name", "reviews", "--detach", "--json").json["job"]
    listed = cli("jobs", "list", "--json").json
    assert [job["id"] for job in listed["jobs"]] == [scored]
    assert [job["id"] for job in listed["training_jobs"]] == [trained]
    table = cli("jobs", "list").out
    assert scored in table
    assert trained in table
    assert cli("jobs", "list", "--state", "FAILED", "--json").json["jobs"] == []
    assert cli("jobs", "watch", scored, "--json").json["job"]["state"] == "SUCCEEDED"
    assert cli("jobs", "cancel", trained, "--json").json["training_job"]["state"] == "CANCELLED"
    assert cli("jobs", "cancel", scored).code == 1
    assert cli("jobs", "results", scored).out.splitlines() == [
        "index,id,label,score,error",
        "0,,positive,0.75,",
        "1,,negative,0.75,",
    ]


def test_models_are_shown_and_aliases_moved(cli) -> None:
    assert "canary → 3, default → 2" in cli("models", "list").out
    assert cli("models", "list", "--json").json["models"][0]["aliases"]["default"] == 2
    assert cli("models", "alias", "reviews", "default", "3").err == (
        "reviews: canary → 3, default → 3\n"
    )
    shown = cli("models", "show", "reviews")
    assert "reviews@3" in shown.out
    assert "model.int8.onnx" in shown.out
    assert cli("models", "report", "reviews", "--json").json["gates"]["passed"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command: str) -> None:
    ran = cli(command, "--help")
    assert ran.code == 0
    assert "Usage: labelmill" in ran.out


def test_the_version_is_printed(cli) -> None:
    assert cli("--version").out.startswith("labelmill 0.")


def test_settings_of_processes_become_their_environment(
    cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("os.execve", lambda *args: started.append(args))
    monkeypatch.setenv("LABELMILL_THREADS", "2")
    ran = cli("worker", "--engines", "onnx,torch", "--train", "false", "--registry", "/models")
    assert ran.code == 0
    ((program, argv, environment),) = started
    assert [program, *argv[1:]] == [sys.executable, "-m", "labelmill.worker"]
    assert environment["LABELMILL_ENGINES"] == "onnx,torch"
    assert environment["LABELMILL_TRAIN"] == "false"
    assert environment["LABELMILL_REGISTRY"] == "/models"
    assert environment["LABELMILL_THREADS"] == "2"


def test_a_missing_extra_is_named(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelmill.client.cli.server.find_spec", lambda _: None)
    ran = cli("server")
    assert ran.code == 1
    assert "pip install 'labelmill[server]'" in ran.err


def test_an_unexpected_error_is_one_line(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("labelmill.client.cli.options.connect", broken)
    ran = cli("models", "list", "--json")
    assert ran.code == 1
    assert ran.json["error"]["reason"] == "INTERNAL"
    assert "LABELMILL_DEBUG=1" in ran.err


def test_a_reader_that_leaves_causes_no_noise(fake: FakeServer) -> None:
    command = [sys.executable, "-m", "labelmill.client.cli.main", "models", "list"]
    command += ["--address", fake.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(30) == 1
