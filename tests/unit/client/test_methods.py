"""The methods beside `score`, each through both clients where they do more than pass a call on."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from unit.client.fake_server import FakeServer, training_event

from labelmill import errors
from labelmill.client import AsyncClient, Client, JobState, TrainingEvent
from labelmill.v1 import scoring_pb2 as pb

AWAY = errors.QueueUnavailableError("Redis is away")

SCRIPT = [
    training_event(1, "validate", progress=0.1, message="4 rows"),
    training_event(2, "fine-tune", progress=0.5, metrics={"loss": 0.5}),
    training_event(3, "fine-tune", progress=0.6, message="loss is not falling", warning=True),
    training_event(4, "register", "SUCCEEDED", progress=1.0, message="reviews@2"),
]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\n" + "a good film,positive\n" * 50_000, encoding="utf-8")
    return file


def test_classify_one_text(client: Client) -> None:
    answer = client.classify("a good film", model="reviews", engine="onnx-fp32")
    assert (answer.model, answer.version, answer.engine) == ("reviews", 2, "onnx-fp32")
    assert answer.queue_ms == 0.5
    assert answer.batch_size == 1
    (result,) = answer.results
    assert (result.label, result.score, result.token_count) == ("positive", 0.75, 5)
    assert [entry.label for entry in result.scores] == ["positive", "negative"]


def test_classify_many_texts_in_order(client: Client) -> None:
    answer = client.classify(["good"] * 100 + ["bad"] * 156, model="reviews@3")
    assert [r.label for r in answer.results] == ["positive"] * 100 + ["negative"] * 156
    assert answer.version == 3


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x"] * 257, "texts: 257 texts are more than the 256 of one call; use `score` for many"),
        (["a", None], r"texts\[1\]: is of type NoneType"),
        (["a", "\udfff"], r"texts\[1\]: is not valid Unicode"),
        ([], "texts: is empty"),
    ],
)
def test_bad_texts_are_named(client: Client, texts: list[str], message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        client.classify(texts, model="reviews")


def test_bad_options_are_named(client: Client) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="long_text: 'window' is none of"):
        client.classify("good", model="reviews", long_text="window")  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgumentError, match="top_k"):
        client.classify("good", model="reviews", top_k=-1)
    with pytest.raises(errors.InvalidArgumentError, match="priority"):
        client.create_job(["good"], model="reviews", priority="urgent")  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgumentError, match="there are 1 ids for 2 texts"):
        client.create_job(["a", "b"], ids=["1"], model="reviews")
    with pytest.raises(errors.InvalidArgumentError, match="'DONE' is none of"):
        list(client.list_jobs(states=["DONE"]))


def test_a_job_keeps_what_it_was_created_with(fake: FakeServer, client: Client) -> None:
    job = client.create_job(
        ["good", ""],
        model="reviews@canary",
        engine="onnx-fp32",
        ids=["a", "b"],
        top_k=1,
        threshold=0.25,
        long_text="sliding_window",
        priority="high",
        deadline=datetime.now(UTC) + timedelta(hours=1),
        retention_s=60,
        display_name="nightly",
    )
    assert (job.version, job.engine, job.priority) == (3, "onnx-fp32", "high")
    assert (job.total, job.succeeded, job.failed) == (2, 1, 1)
    assert job.state is JobState.PARTIALLY_SUCCEEDED
    assert job.ended_at is not None
    assert job.ended_at.tzinfo is UTC
    sent = fake.jobs[job.id].message.options
    assert (sent.top_k, sent.threshold) == (1, 0.25)
    assert sent.long_text_policy == 3
    assert [row.id for row in client.results(job.id)] == ["a", "b"]


def test_repeating_a_request_id_returns_the_same_job(client: Client) -> None:
    request_id = "6f0a2f3e-6a0a-4a43-9d0e-6c2b7d1c0b11"
    first = client.create_job(["good"], model="reviews", request_id=request_id)
    assert client.create_job(["good"], model="reviews", request_id=request_id).id == first.id


def test_lists_run_over_their_pages(fake: FakeServer, client: Client) -> None:
    made = [client.create_job(["good"], model="reviews").id for _ in range(7)]
    listed = [job.id for job in client.list_jobs(page_size=2)]
    assert listed == made[::-1]
    assert fake.calls["ListScoringJobs"] == 4
    assert list(client.list_jobs(states=[JobState.FAILED])) == []
    assert [v.version for v in client.list_versions("reviews")] == [3, 2, 1]


async def test_lists_run_over_their_pages_on_asyncio(async_client: AsyncClient) -> None:
    assert [v.version async for v in async_client.list_versions("reviews")] == [3, 2, 1]


def test_a_watch_sees_every_change_and_survives_a_break(fake: FakeServer, client: Client) -> None:
    fake.break_streams_after.append(0)
    job = client.create_job(model="reviews")
    watch = client.watch_job(job.id)
    assert next(watch).state is JobState.RUNNING
    upload = threading.Thread(target=client.upload_items, args=(job.id, ["good"]))
    upload.start()
    states = [seen.state for seen in watch]
    upload.join()
    assert states[-1] is JobState.SUCCEEDED
    assert fake.calls["WatchScoringJob"] == 2


def test_jobs_are_steered(client: Client) -> None:
    job = client.create_job(model="reviews")
    assert client.pause_job(job.id).state is JobState.PAUSED
    assert client.resume_job(job.id).state is JobState.RUNNING
    assert client.cancel_job(job.id).state is JobState.CANCELLED
    with pytest.raises(errors.FailedPreconditionError):
        client.cancel_job(job.id)
    client.delete_job(job.id)
    with pytest.raises(errors.JobNotFoundError):
        client.get_job(job.id)


def test_a_state_of_a_newer_server_counts_as_running(fake: FakeServer, client: Client) -> None:
    job = client.create_job(model="reviews")
    fake.jobs[job.id].message.state = pb.JobState.ValueType(77)
    assert client.get_job(job.id).state is JobState.RUNNING


def test_a_data_set_is_uploaded_whole(client: Client, reviews: Path) -> None:
    sent: list[int] = []
    dataset = client.upload_dataset(reviews, on_progress=sent.append)
    assert (dataset.rows, dataset.size_bytes) == (50_000, reviews.stat().st_size)
    assert dataset.display_name == "reviews.csv"
    assert sent[-1] == reviews.stat().st_size
    assert len(sent) > 2


async def test_a_data_set_is_uploaded_whole_on_asyncio(
    fake: FakeServer, async_client: AsyncClient, reviews: Path
) -> None:
    fake.lose_reply("UploadDataset", AWAY)
    sent: list[int] = []
    dataset = await async_client.upload_dataset(reviews, on_progress=sent.append)
    assert dataset.rows == 50_000
    assert dataset.size_bytes == sent[-1]


def test_a_callback_that_fails_fails_the_upload(client: Client, reviews: Path) -> None:
    def broken(_: int) -> None:
        raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        client.upload_dataset(reviews, on_progress=broken)


async def test_a_callback_that_fails_fails_the_upload_on_asyncio(
    async_client: AsyncClient, reviews: Path
) -> None:
    def broken(_: int) -> None:
        raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        await async_client.upload_dataset(reviews, on_progress=broken)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("reviews.xlsx", errors.InvalidArgumentError, "unknown extension '.xlsx'"),
        ("nosuch.csv", errors.DatasetError, "cannot be read: No such file"),
    ],
)
def test_what_is_no_data_set_is_refused(
    client: Client, tmp_path: Path, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        client.upload_dataset(tmp_path / name)


def test_a_missing_column_is_named(client: Client, reviews: Path) -> None:
    with pytest.raises(errors.DatasetError) as caught:
        client.upload_dataset(reviews, text_column="review")
    assert caught.value.violations[0].field == "header.text_column"


def test_train_waits_and_passes_events_on(fake: FakeServer, client: Client, reviews: Path) -> None:
    fake.training_script = SCRIPT
    fake.break_streams_after.append(2)
    events: list[TrainingEvent] = []
    job = client.train(reviews, model="reviews", epochs=2, seed=7, on_event=events.append)
    assert job.state is JobState.SUCCEEDED
    assert job.version == 2
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert events[1].metrics == {"loss": 0.5}
    assert events[2].warning
    assert fake.calls["WatchTrainingJob"] == 2
    config = fake.training_jobs[job.id].config
    assert (config.epochs, config.seed) == (2, 7)
    assert not config.HasField("learning_rate")


async def test_train_waits_and_passes_events_on_on_asyncio(
    fake: FakeServer, async_client: AsyncClient, reviews: Path
) -> None:
    fake.training_script = SCRIPT
    fake.break_streams_after.append(1)
    seen: list[int] = []

    async def note(event: TrainingEvent) -> None:
        seen.append(event.sequence)

    job = await async_client.train(reviews, model="reviews", on_event=note)
    assert job.version == 2
    assert seen == [1, 2, 3, 4]


def test_a_run_that_fails_raises_its_reason(
    fake: FakeServer, client: Client, reviews: Path
) -> None:
    fake.training_script = [training_event(1, "gates", "FAILED", message="labels differ")]
    with pytest.raises(errors.GateFailedError, match="labels differ"):
        client.train(reviews, model="reviews")


def test_a_watch_goes_on_where_another_left_off(
    fake: FakeServer, client: Client, reviews: Path
) -> None:
    fake.training_script = SCRIPT
    job = client.train(reviews, model="reviews", wait=False)
    assert job.state is JobState.QUEUED
    assert [e.sequence for e in client.watch_training(job.id, after_sequence=2)] == [3, 4]
    assert list(client.watch_training(job.id, after_sequence=4)) == []
    assert client.cancel_training(job.id).state is JobState.CANCELLED


def test_hyper_parameters_that_cannot_be_sent_are_named(client: Client, reviews: Path) -> None:
    dataset = client.upload_dataset(reviews)
    with pytest.raises(errors.InvalidArgumentError, match="epoches: is no hyper-parameter"):
        client.train(dataset, model="reviews", epoches=3)  # type: ignore[call-arg]
    with pytest.raises(errors.InvalidArgumentError, match=r"config\.batch_size: 'many'"):
        client.train(dataset.id, model="reviews", batch_size="many")  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgumentError, match=r"config\.epochs: must be in"):
        client.train(dataset, model="reviews", epochs=-1)
    with pytest.raises(errors.DatasetNotFoundError):
        client.train("f" * 64, model="reviews")


def test_an_import_waits_and_passes_events_on(fake: FakeServer, client: Client) -> None:
    fake.training_script = SCRIPT
    fake.lose_reply("ImportModel", AWAY)
    fake.break_streams_after.append(2)
    events: list[TrainingEvent] = []
    version = client.import_model(
        "/checkpoints/reviews",
        model="reviews",
        calibration_texts=["good", "bad"],
        calibration_labels=["positive", "negative"],
        max_length=64,
        alias=None,
        on_event=events.append,
    )
    assert (version.model, version.version) == ("reviews", 2)
    assert version.report is not None
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert fake.calls["ImportModel"] == 2
    (request,) = fake.imports
    assert request.source_directory == "/checkpoints/reviews"
    assert list(request.calibration_texts) == ["good", "bad"]
    assert list(request.calibration_labels) == ["positive", "negative"]
    assert (request.max_length, request.HasField("alias"), request.alias) == (64, True, "")
    assert request.detach


async def test_an_import_waits_and_passes_events_on_on_asyncio(
    fake: FakeServer, async_client: AsyncClient
) -> None:
    fake.training_script = SCRIPT
    fake.lose_reply("ImportModel", AWAY)
    seen: list[int] = []

    async def note(event: TrainingEvent) -> None:
        seen.append(event.sequence)

    version = await async_client.import_model(Path("/m"), model="reviews", on_event=note)
    assert version.version == 2
    assert seen == [1, 2, 3, 4]
    (request,) = fake.imports
    assert (request.source_directory, request.alias) == ("/m", "default")
    assert not request.HasField("max_length")


def test_an_import_that_fails_names_the_field(fake: FakeServer, client: Client) -> None:
    fake.training_script = [training_event(1, "register", "FAILED", message="no config.json")]
    fake.error_fields = {"source_directory": "no config.json"}
    with pytest.raises(errors.InvalidArgumentError, match=r"no config\.json") as caught:
        client.import_model("/m", model="reviews")
    assert caught.value.violations == (("source_directory", "no config.json"),)
    assert caught.value.metadata["job_id"] in fake.training_jobs


def test_an_import_nobody_waits_for_is_a_job(fake: FakeServer, client: Client) -> None:
    fake.training_script = SCRIPT
    request_id = "6f0a2f3e-6a0a-4a43-9d0e-6c2b7d1c0b11"
    job = client.create_import("/m", model="reviews", request_id=request_id)
    assert (job.kind, job.source_directory, job.state) == ("import", "/m", JobState.QUEUED)
    assert client.create_import("/m", model="reviews", request_id=request_id).id == job.id
    assert [event.sequence for event in client.watch_training(job.id)] == [1, 2, 3, 4]


def test_an_import_that_takes_too_long_goes_on(fake: FakeServer, client: Client) -> None:
    fake.training_script = SCRIPT[:1]
    with pytest.raises(errors.DeadlineError):
        client.import_model("/m", model="reviews", timeout=0.3)
    (job,) = fake.training_jobs.values()
    assert client.get_training_job(job.id).state is JobState.RUNNING


def test_imports_that_cannot_be_sent_are_named(client: Client) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="model: 'No Name'"):
        client.create_import("/m", model="No Name")
    with pytest.raises(errors.InvalidArgumentError, match="calibration_texts: is one string"):
        client.create_import("/m", model="m", calibration_texts="good")
    with pytest.raises(errors.InvalidArgumentError, match=r"calibration_labels\[1\]: is of type"):
        client.create_import("/m", model="m", calibration_labels=["a", 1])  # type: ignore[list-item]
    with pytest.raises(errors.InvalidArgumentError, match="max_length: 'long'"):
        client.create_import("/m", model="m", max_length="long")  # type: ignore[arg-type]


def test_models_are_listed_and_their_aliases_move(client: Client) -> None:
    (model,) = client.list_models()
    assert model.aliases == {"default": 2, "canary": 3}
    moved = client.set_alias("reviews", "default", 3, etag=model.etag)
    assert moved.aliases["default"] == 3
    with pytest.raises(errors.EtagMismatchError):
        client.set_alias("reviews", "default", 2, etag=model.etag)
    version = client.get_version("reviews")
    assert version.version == 3
    assert version.report is not None
    assert version.report["gates"]["passed"]
    assert version.gates[0].name == "int8.label_agreement"
    with pytest.raises(errors.UnimplementedError, match="later release"):
        client.rollback("reviews")


def test_waiting_for_a_server(client: Client) -> None:
    client.wait_until_ready(10)
    with Client("127.0.0.1:1") as nobody, pytest.raises(errors.ServerUnavailableError):
        nobody.wait_until_ready(0.2)


async def test_waiting_for_a_server_on_asyncio(async_client: AsyncClient) -> None:
    await async_client.wait_until_ready(10)
    async with AsyncClient("127.0.0.1:1") as nobody:
        with pytest.raises(errors.ServerUnavailableError):
            await nobody.wait_until_ready(0.2)


def test_closing_ends_a_call_under_way(fake: FakeServer) -> None:
    client = Client(fake.address)
    job = client.create_job(model="reviews")
    results = client.results(job.id)
    closing = threading.Timer(0.2, client.close)
    closing.start()
    with pytest.raises(errors.FailedPreconditionError, match="closed"):
        next(results)
    closing.join()
