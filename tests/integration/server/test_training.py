from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from servers import PATIENCE_S, Refusal, StandIn

from labelmill.registry import Registry
from labelmill.v1 import training_pb2 as pb
from labelmill.v1.classification_pb2 import ClassifyRequest
from labelmill.v1.classification_pb2_grpc import ClassificationServiceStub
from labelmill.v1.models_pb2 import SetModelAliasRequest
from labelmill.v1.models_pb2_grpc import ModelServiceStub
from labelmill.v1.scoring_pb2 import JOB_STATE_CANCELLED, JOB_STATE_QUEUED, JOB_STATE_SUCCEEDED
from labelmill.v1.training_pb2_grpc import TrainingServiceStub

Refused = Callable[..., Refusal]

CSV = "text,label\n" + "".join(
    f"review number {i},{'good' if i % 2 else 'bad'}\n" for i in range(20)
)


def upload(
    data: bytes, kind: pb.DatasetFormat.ValueType = pb.DATASET_FORMAT_CSV, **header: Any
) -> Iterator[pb.UploadDatasetRequest]:
    yield pb.UploadDatasetRequest(header=pb.DatasetHeader(format=kind, **header))
    for start in range(0, len(data), 100):
        yield pb.UploadDatasetRequest(data=data[start : start + 100])


def dataset(training: TrainingServiceStub) -> str:
    return training.UploadDataset(upload(CSV.encode()), timeout=20).dataset.id


def test_a_data_set_is_described_and_stored_once(
    training: TrainingServiceStub, registry: Registry
) -> None:
    first = training.UploadDataset(upload(CSV.encode(), display_name="r.csv"), timeout=20).dataset
    assert (first.row_count, first.size_bytes) == (20, len(CSV))
    assert {entry.label: entry.count for entry in first.labels} == {"good": 10, "bad": 10}
    assert (first.header.text_column, first.header.display_name) == ("text", "r.csv")
    assert training.UploadDataset(upload(CSV.encode()), timeout=20).dataset.id == first.id
    assert not list((registry.root / "datasets").glob(".staging-*"))


@pytest.mark.parametrize(
    ("data", "header", "reason", "field", "words"),
    [
        (b"", {}, "BAD_DATASET", "data", "empty"),
        (CSV.encode("utf-16"), {}, "BAD_DATASET", "data", "UTF-16"),
        (b"text,label\ngood \xff,good\n", {}, "BAD_DATASET", "data", "not UTF-8"),
        (b"review,stars\na,b\n", {}, "BAD_DATASET", "header.text_column", "'review', 'stars'"),
        (CSV.encode(), {"label_column": "class"}, "BAD_DATASET", "header.label_column", "'class'"),
        (b"text,label\na,x\nb,x\nc,x\n", {}, "BAD_DATASET", "header.label_column", "at least two"),
        (
            (CSV + "lone,rare\n").encode(),
            {},
            "BAD_DATASET",
            "header.label_column",
            "'rare' (1)",
        ),
        (CSV.encode(), {"kind": 0}, "INVALID_ARGUMENT", "header.format", "DATASET_FORMAT_CSV"),
        (CSV.encode(), {"kind": 42}, "INVALID_ARGUMENT", "header.format", "DATASET_FORMAT_CSV"),
        (
            CSV.encode(),
            {"text_column": "c" * 300},
            "INVALID_ARGUMENT",
            "header.text_column",
            "256 bytes",
        ),
    ],
)
def test_bad_data_is_refused_and_nothing_stays(
    training: TrainingServiceStub,
    registry: Registry,
    refused: Refused,
    data: bytes,
    header: dict[str, Any],
    reason: str,
    field: str,
    words: str,
) -> None:
    folder = registry.root / "datasets"
    before = sorted(folder.glob("*"))
    status = refused(training.UploadDataset, upload(data, **header))
    assert (status.code, status.reason) == ("INVALID_ARGUMENT", reason)
    assert field in status.fields
    assert words in status.message
    assert sorted(folder.glob("*")) == before


def test_an_upload_must_begin_with_its_header(
    training: TrainingServiceStub, refused: Refused
) -> None:
    data = pb.UploadDatasetRequest(data=b"x")
    header = next(upload(b""))
    large = pb.UploadDatasetRequest(data=b"x" * ((1 << 20) + 1))
    for messages, field in (
        ([], "header"),
        ([data], "header"),
        ([header, header], "data"),
        ([header, large], "data"),
    ):
        status = refused(training.UploadDataset, iter(messages))
        assert (status.code, list(status.fields)) == ("INVALID_ARGUMENT", [field])


def test_a_broken_upload_leaves_nothing(training: TrainingServiceStub, registry: Registry) -> None:
    folder = registry.root / "datasets"

    def broken() -> Iterator[pb.UploadDatasetRequest]:
        yield from upload(b"text,label\n" + b"unlike any other,good\n" * 50)
        deadline = time.monotonic() + PATIENCE_S
        while not list(folder.glob(".staging-*")):
            assert time.monotonic() < deadline
        call.cancel()
        yield pb.UploadDatasetRequest(data=b"x")

    call = training.UploadDataset.future(broken())
    with pytest.raises(grpc.FutureCancelledError):
        call.result(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while list(folder.glob(".staging-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def create(dataset_id: str, **kwargs: Any) -> pb.CreateTrainingJobRequest:
    return pb.CreateTrainingJobRequest(
        model=kwargs.pop("model", "fresh"), dataset_id=dataset_id, **kwargs
    )


@pytest.mark.parametrize(
    ("kwargs", "field", "words"),
    [
        ({"model": "No Name"}, "model", "lower-case"),
        ({"alias": "1st"}, "alias", "no alias"),
        ({"request_id": "x"}, "request_id", "UUID4"),
        ({"config": pb.TrainingConfig(epochs=-1)}, "config.epochs", "greater than 0"),
        ({"config": pb.TrainingConfig(epochs=float("nan"))}, "config.epochs", "finite"),
        ({"config": pb.TrainingConfig(learning_rate=3)}, "config.learning_rate", "less than"),
        ({"config": pb.TrainingConfig(max_length=4)}, "config.max_length", "8"),
        ({"config": pb.TrainingConfig(batch_size=0)}, "config.batch_size", "1"),
        ({"config": pb.TrainingConfig(base_model="b" * 2000)}, "config.base_model", "bbb"),
        (
            {"config": pb.TrainingConfig(gradient_accumulation_steps=5)},
            "config.gradient_accumulation_steps",
            "does not divide",
        ),
    ],
)
def test_bad_training_requests_name_the_field(
    training: TrainingServiceStub, refused: Refused, kwargs: dict[str, Any], field: str, words: str
) -> None:
    status = refused(training.CreateTrainingJob, create(dataset(training), **kwargs))
    assert (status.code, status.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert list(status.fields) == [field]
    assert words in status.message


def test_an_unknown_data_set_is_not_found(training: TrainingServiceStub, refused: Refused) -> None:
    for dataset_id in ("0" * 64, "../reviews"):
        status = refused(training.CreateTrainingJob, create(dataset_id))
        assert (status.code, status.reason) == ("NOT_FOUND", "DATASET_NOT_FOUND")
    assert refused(training.CreateTrainingJob, create("")).fields.keys() == {"dataset_id"}


def test_a_job_is_watched_to_its_end_and_again_from_the_middle(
    training: TrainingServiceStub, worker: StandIn
) -> None:
    worker.held.set()
    config = pb.TrainingConfig(epochs=2, class_weights=True)
    made = training.CreateTrainingJob(create(dataset(training), config=config), timeout=20).job
    assert (made.state, made.model, made.config) == (JOB_STATE_QUEUED, "fresh", config)
    watch = training.WatchTrainingJob(
        pb.WatchTrainingJobRequest(job_id=made.id), timeout=PATIENCE_S
    )
    worker.held.clear()
    events = [answer.event for answer in watch]
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert events[-1].state == JOB_STATE_SUCCEEDED
    again = training.WatchTrainingJob(
        pb.WatchTrainingJobRequest(job_id=made.id, after_sequence=2), timeout=20
    )
    assert [answer.event.sequence for answer in again] == [3, 4]
    end = training.GetTrainingJob(pb.GetTrainingJobRequest(job_id=made.id), timeout=20).job
    assert (end.state, end.model_version, end.last_sequence) == (JOB_STATE_SUCCEEDED, 1, 4)


def test_whoever_watched_the_end_is_served_the_new_version(
    training: TrainingServiceStub,
    classification: ClassificationServiceStub,
    models: ModelServiceStub,
    worker: StandIn,
) -> None:
    models.SetModelAlias(
        SetModelAliasRequest(model="reviews", alias="default", version=2), timeout=20
    )
    ask = ClassifyRequest(model="reviews", texts=["good"])
    assert classification.Classify(ask, timeout=20).model_version == 2
    # The stand-in points the alias at version 1 when it is done.
    request = create(dataset(training), model="reviews")
    made = training.CreateTrainingJob(request, timeout=20).job
    list(training.WatchTrainingJob(pb.WatchTrainingJobRequest(job_id=made.id), timeout=PATIENCE_S))
    assert classification.Classify(ask, timeout=20).model_version == 1


def test_repeating_a_request_id_returns_the_same_job(
    training: TrainingServiceStub, refused: Refused
) -> None:
    dataset_id, request_id = dataset(training), str(uuid.uuid4())
    made = [
        training.CreateTrainingJob(create(dataset_id, request_id=request_id), timeout=20).job.id
        for _ in range(2)
    ]
    assert made[0] == made[1]
    status = refused(
        training.CreateTrainingJob, create(dataset_id, request_id=request_id, alias="canary")
    )
    assert (status.code, status.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def test_a_queued_job_is_cancelled_at_once(training: TrainingServiceStub) -> None:
    made = training.CreateTrainingJob(create(dataset(training)), timeout=20).job
    for _ in range(2):
        gone = training.CancelTrainingJob(
            pb.CancelTrainingJobRequest(job_id=made.id), timeout=20
        ).job
        assert gone.state == JOB_STATE_CANCELLED
    watch = training.WatchTrainingJob(pb.WatchTrainingJobRequest(job_id=made.id), timeout=20)
    assert [answer.event.state for answer in watch] == [JOB_STATE_CANCELLED]


def test_a_finished_job_cannot_be_cancelled(
    training: TrainingServiceStub, worker: StandIn, refused: Refused
) -> None:
    made = training.CreateTrainingJob(create(dataset(training)), timeout=20).job
    list(training.WatchTrainingJob(pb.WatchTrainingJobRequest(job_id=made.id), timeout=PATIENCE_S))
    status = refused(training.CancelTrainingJob, pb.CancelTrainingJobRequest(job_id=made.id))
    assert status.code == "FAILED_PRECONDITION"


def test_jobs_are_listed_page_by_page(training: TrainingServiceStub, refused: Refused) -> None:
    dataset_id = dataset(training)
    made = [training.CreateTrainingJob(create(dataset_id), timeout=20).job.id for _ in range(3)]
    first = training.ListTrainingJobs(pb.ListTrainingJobsRequest(page_size=2), timeout=20)
    request = pb.ListTrainingJobsRequest(page_size=2, page_token=first.next_page_token)
    second = training.ListTrainingJobs(request, timeout=20)
    assert sorted(job.id for job in [*first.jobs, *second.jobs]) == sorted(made)
    assert second.next_page_token == ""
    status = refused(training.ListTrainingJobs, pb.ListTrainingJobsRequest(page_token="Zm9v"))
    assert (status.code, list(status.fields)) == ("INVALID_ARGUMENT", ["page_token"])


def test_an_unknown_job_is_not_found(training: TrainingServiceStub, refused: Refused) -> None:
    for method, request in (
        (training.GetTrainingJob, pb.GetTrainingJobRequest(job_id="train-0-none")),
        (training.WatchTrainingJob, pb.WatchTrainingJobRequest(job_id="train-0-none")),
        (training.CancelTrainingJob, pb.CancelTrainingJobRequest(job_id="x")),
    ):
        status = refused(method, request)
        assert (status.code, status.reason) == ("NOT_FOUND", "JOB_NOT_FOUND")
    negative = pb.WatchTrainingJobRequest(job_id="train-0-none", after_sequence=-1)
    assert list(refused(training.WatchTrainingJob, negative).fields) == ["after_sequence"]
