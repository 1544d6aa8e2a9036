"""ImportModel as the server answers it; a stand-in takes the place of the worker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from servers import PATIENCE_S, Refusal, StandIn

from labelmill.queue.connection import connect
from labelmill.queue.keys import Keys
from labelmill.queue.training import TrainingLeases, TrainingRecord
from labelmill.v1 import models_pb2 as pb
from labelmill.v1 import training_pb2
from labelmill.v1.models_pb2_grpc import ModelServiceStub
from labelmill.v1.scoring_pb2 import JOB_STATE_QUEUED, JOB_STATE_SUCCEEDED
from labelmill.v1.training_pb2 import TrainingEvent
from labelmill.v1.training_pb2_grpc import TrainingServiceStub

Refused = Callable[..., Refusal]


def ask(**fields: Any) -> pb.ImportModelRequest:
    return pb.ImportModelRequest(
        **{"source_directory": "/checkpoints/m", "model": "reviews"} | fields
    )


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


def leased(raw: redis.Redis) -> tuple[TrainingLeases, TrainingRecord, str]:
    """The import, taken as a worker takes it, once it is queued."""
    leases = TrainingLeases(raw, "hands")
    deadline = time.monotonic() + PATIENCE_S
    while (found := leases.lease()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return leases, *found


def test_it_waits_for_the_version(models: ModelServiceStub, worker: StandIn) -> None:
    answer = models.ImportModel(ask(alias="canary"), timeout=PATIENCE_S)
    assert (answer.version.model, answer.version.version) == ("reviews", 1)
    assert list(answer.version.aliases) == ["canary"]
    assert answer.job.state == JOB_STATE_SUCCEEDED
    assert answer.job.kind == training_pb2.TRAINING_JOB_KIND_IMPORT
    assert answer.job.source_directory == "/checkpoints/m"


def test_detached_it_is_a_job_among_the_others(
    models: ModelServiceStub, training: TrainingServiceStub, worker: StandIn
) -> None:
    worker.held.set()
    answer = models.ImportModel(ask(detach=True), timeout=20)
    assert not answer.HasField("version")
    assert answer.job.state == JOB_STATE_QUEUED
    listed = training.ListTrainingJobs(training_pb2.ListTrainingJobsRequest(), timeout=20).jobs
    assert [job.id for job in listed] == [answer.job.id]
    worker.held.clear()
    watch = training.WatchTrainingJob(
        training_pb2.WatchTrainingJobRequest(job_id=answer.job.id), timeout=PATIENCE_S
    )
    assert [event.event.state for event in watch][-1] == JOB_STATE_SUCCEEDED


def test_the_worker_is_told_all_and_the_texts_go_with_the_job(
    models: ModelServiceStub, worker: StandIn, raw: redis.Redis
) -> None:
    worker.held.set()
    request = ask(
        detach=True,
        calibration_texts=["good", "bad"],
        calibration_labels=["1", "0"],
        max_length=64,
        alias="",
    )
    job = models.ImportModel(request, timeout=20).job
    leases, record, token = leased(raw)
    assert (record.id, record.kind, record.alias) == (job.id, "import", "")
    asked = leases.request_of(job.id)
    assert asked is not None
    request.ClearField("detach")
    assert asked == request
    leases.finish(job.id, token, "CANCELLED", TrainingEvent(message="Cancelled."))
    assert leases.request_of(job.id) is None
    assert not raw.exists(Keys().training_input(job.id))


def test_a_call_that_breaks_off_loses_nothing(
    models: ModelServiceStub, training: TrainingServiceStub, worker: StandIn, refused: Refused
) -> None:
    worker.held.set()
    request = ask(request_id=str(uuid.uuid4()))
    call = models.ImportModel.future(request, timeout=PATIENCE_S)
    listing = training_pb2.ListTrainingJobsRequest()
    deadline = time.monotonic() + PATIENCE_S
    while not (queued := training.ListTrainingJobs(listing, timeout=20).jobs):
        assert time.monotonic() < deadline
    call.cancel()
    worker.held.clear()
    # Not a second import, but the same one.
    answer = models.ImportModel(request, timeout=PATIENCE_S)
    assert (answer.job.id, answer.version.version) == (queued[0].id, 1)
    request.detach = True
    assert models.ImportModel(request, timeout=20).job.id == queued[0].id
    request.max_length = 64
    status = refused(models.ImportModel, request)
    assert (status.code, status.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def test_what_the_worker_refuses_is_answered_with_reason_and_field(
    models: ModelServiceStub, worker: StandIn, raw: redis.Redis, refused: Refused
) -> None:
    worker.held.set()
    call = models.ImportModel.future(ask(), timeout=PATIENCE_S)
    leases, record, token = leased(raw)
    leases.finish(
        record.id,
        token,
        "FAILED",
        TrainingEvent(message="source_directory: there is no /checkpoints/m"),
        reason="INVALID_ARGUMENT",
        error_fields={"source_directory": "there is no /checkpoints/m"},
    )
    status = refused(lambda *_, **__: call.result(), None)
    assert (status.code, status.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert status.fields == {"source_directory": "there is no /checkpoints/m"}
    assert status.metadata["job_id"] == record.id


def test_a_cancelled_import_is_said_to_be(
    models: ModelServiceStub,
    training: TrainingServiceStub,
    worker: StandIn,
    raw: redis.Redis,
    refused: Refused,
) -> None:
    worker.held.set()
    call = models.ImportModel.future(ask(), timeout=PATIENCE_S)
    leases, record, token = leased(raw)
    training.CancelTrainingJob(training_pb2.CancelTrainingJobRequest(job_id=record.id), timeout=20)
    assert leases.beat(record.id, token) == "STOP"
    leases.finish(record.id, token, "CANCELLED", TrainingEvent(message="Cancelled."))
    status = refused(lambda *_, **__: call.result(), None)
    assert (status.code, status.reason) == ("CANCELLED", "CANCELLED")


def test_nobody_to_wait_for_is_said_at_once(models: ModelServiceStub, refused: Refused) -> None:
    status = refused(models.ImportModel, ask())
    assert (status.code, status.reason) == ("UNAVAILABLE", "NO_WORKER")
    assert "labelmill worker" in status.message
    # A job may wait until one is there.
    assert models.ImportModel(ask(detach=True), timeout=20).job.state == JOB_STATE_QUEUED


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"model": "No Name"}, "model", "lower-case"),
        ({"alias": "1st"}, "alias", "no alias"),
        ({"request_id": "x"}, "request_id", "UUID4"),
        ({"source_directory": ""}, "source_directory", "is empty"),
        ({"source_directory": "my/model"}, "source_directory", "give an absolute path"),
        ({"source_directory": "/" + "m" * 5000}, "source_directory", "no path"),
        ({"source_directory": "/m\0"}, "source_directory", "no path"),
        ({"max_length": 4}, "max_length", "8 or more"),
        ({"max_length": 0}, "max_length", "8 or more"),
        ({"calibration_texts": ["a"] * 5001}, "calibration_texts", "at most 5000"),
        ({"calibration_texts": ["a" * 1_000_000] * 9}, "calibration_texts", "8 MiB"),
        ({"calibration_texts": ["a", " "]}, "calibration_texts[1]", "blank"),
        (
            {"calibration_texts": ["a", "b"], "calibration_labels": ["x"]},
            "calibration_labels",
            "1 entries for 2 texts",
        ),
        ({"calibration_labels": ["x"]}, "calibration_labels", "1 entries for 0 texts"),
    ],
)
def test_bad_requests_name_the_field_and_queue_nothing(
    models: ModelServiceStub,
    training: TrainingServiceStub,
    refused: Refused,
    fields: dict[str, Any],
    field: str,
    words: str,
) -> None:
    status = refused(models.ImportModel, ask(**fields))
    assert (status.code, status.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert list(status.fields) == [field]
    assert words in status.message
    assert not training.ListTrainingJobs(training_pb2.ListTrainingJobsRequest(), timeout=20).jobs
