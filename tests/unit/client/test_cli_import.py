"""`labelmill models import`: what it sends, shows and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.client.fake_server import FakeServer, training_event

from labelmill.client.cli.calibration import MAX_BYTES, MAX_TEXTS, read_calibration
from labelmill.errors import InvalidArgumentError

SCRIPT = [
    training_event(1, "validate", progress=0.1, message="Loading a bert."),
    training_event(2, "validate", progress=0.1, message="no names but LABEL_0", warning=True),
    training_event(3, "gates", progress=0.5, message="comparing"),
    training_event(4, "register", "SUCCEEDED", progress=1.0, message="registered reviews@2"),
]

REPORT = {
    "source": {"directory": "/m", "architectures": ["BertForSequenceClassification"]},
    "texts": {"given": 0, "labels_known": False, "judged_by": "the checkpoint's own answers"},
    "test": None,
    "gates": {"passed": True},
    "warnings": ["no names but LABEL_0"],
    "seconds": 12.5,
    "hardware": {},
}


@pytest.fixture(autouse=True)
def imported(fake: FakeServer) -> None:
    fake.training_script = SCRIPT
    fake.report = json.dumps(REPORT)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\na good film,positive\n,positive\nbad,negative\n", "utf-8")
    return file


def test_it_shows_the_run_and_what_was_proven(cli, fake: FakeServer) -> None:
    ran = cli("models", "import", "/m", "--name", "reviews")
    assert ran.code == 0
    assert "validate: Loading a bert." in ran.err
    assert "warning: no names but LABEL_0" in ran.err
    assert "int8.label_agreement" in ran.out
    assert "labels negative, positive" in ran.out
    assert "version reviews@2, report /registry/models/reviews/2/report.json" in ran.out
    (request,) = fake.imports
    assert (request.source_directory, request.alias) == ("/m", "default")
    assert not request.calibration_texts


def test_json_has_the_promised_keys(cli) -> None:
    answer = cli("models", "import", "/m", "--name", "reviews", "--json").json
    assert (answer["model"], answer["version"]) == ("reviews", 2)
    assert answer["report"] == "/registry/models/reviews/2/report.json"
    assert answer["labels"] == ["negative", "positive"]
    assert answer["engines"] == ["onnx-int8", "onnx-fp32"]
    for key in ("source", "texts", "test", "gates", "warnings", "seconds"):
        assert answer[key] == REPORT[key]
    assert "hardware" not in answer


def test_a_relative_directory_is_made_absolute(
    cli, fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("models", "import", "my/model", "--name", "reviews").code == 0
    assert fake.imports[0].source_directory == str(tmp_path / "my" / "model")


def test_options_are_sent(cli, fake: FakeServer, reviews: Path) -> None:
    ran = cli(
        *("models", "import", "/m", "--name", "reviews", "--calibration", reviews),
        *("--max-length", "64", "--alias", "none"),
    )
    assert "reviews.csv: 2 texts, with their labels" in ran.err
    (request,) = fake.imports
    assert list(request.calibration_texts) == ["a good film", "bad"]
    assert list(request.calibration_labels) == ["positive", "negative"]
    assert (request.max_length, request.HasField("alias"), request.alias) == (64, True, "")


def test_labels_can_be_left_out(cli, fake: FakeServer, reviews: Path) -> None:
    options = ("--calibration", reviews, "--label-column", "none")
    ran = cli("models", "import", "/m", "--name", "reviews", *options)
    assert "2 texts, without labels" in ran.err
    assert not fake.imports[0].calibration_labels


def test_detached_it_prints_the_job(cli) -> None:
    job = cli("models", "import", "/m", "--name", "reviews", "--detach", "--json").json
    assert job["state"] == "QUEUED"
    assert "import job" in cli("models", "import", "/m", "--name", "reviews", "--detach").err
    assert "import" in cli("jobs", "list").out
    shown = cli("jobs", "show", job["job"], "--json").json["training_job"]
    assert (shown["kind"], shown["source_directory"]) == ("import", "/m")
    assert "register: registered reviews@2" in cli("jobs", "watch", job["job"]).err


def test_what_the_worker_refuses_is_wrong_input(cli, fake: FakeServer) -> None:
    message = "source_directory: there is no /m on the machine of the worker; put it there"
    fake.training_script = [training_event(1, "register", "FAILED", message=message)]
    fake.error_fields = {"source_directory": message.partition(": ")[2]}
    ran = cli("models", "import", "/m", "--name", "reviews", "--json")
    assert ran.code == 2
    assert message in ran.json["error"]["message"]
    assert "source_directory" in ran.json["error"]["fields"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--name", "No Name"], "--name: 'No Name'"),
        (["--name", "m", "--calibration", "nosuch.csv"], "--calibration: there is no file"),
        (["--name", "m", "--calibration", "reviews.xlsx"], "--calibration: reviews.xlsx ends"),
        (["--name", "m", "--calibration", "."], "--calibration: . is a directory"),
        (
            ["--name", "m", "--calibration", "reviews.csv", "--label-column", "stars"],
            "--label-column: reviews.csv has no column 'stars'",
        ),
        (["--name", "m", "--calibration", "reviews.csv", "--text-column", "t"], "'t'"),
        (["--name", "m", "--calibration", "blank.txt"], "has no text"),
        (["--name", "m", "--alias", "1st"], "'1st' is no alias"),
        ([], "Missing option '--name'"),
    ],
)
def test_wrong_usage_is_named_before_anything_is_sent(
    cli,
    fake: FakeServer,
    reviews: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(reviews.parent)
    reviews.with_suffix(".xlsx").touch()
    reviews.with_name("blank.txt").write_text("\n \n", "utf-8")
    ran = cli("models", "import", "/m", *args)
    assert ran.code == 2
    assert says in ran.err
    assert fake.imports == []


def test_a_large_file_is_sampled_evenly(tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    rows = "".join(f"text {number},{number % 2}\n" for number in range(3 * MAX_TEXTS))
    file.write_text("text,label\n" + rows, "utf-8")
    found = read_calibration(file, "text", None)
    assert len(found.texts) == len(found.labels) == MAX_TEXTS
    assert found.texts[:3] == ["text 0", "text 3", "text 6"]
    assert found.labels[:3] == ["0", "1", "0"]


def test_long_texts_are_sampled_to_what_the_server_takes(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("\n".join(f"{number} " + "long " * 20_000 for number in range(200)), "utf-8")
    found = read_calibration(file, "text", None)
    assert 10 < len(found.texts) < 200
    assert sum(map(len, found.texts)) <= MAX_BYTES


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgumentError, match="--calibration: byte 0 .* not UTF-8"):
        read_calibration(file, "text", None)
