"""Training: data sets, jobs and their events."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal, TypedDict

from labelmill.client._wire.call import Call, Cursor, Method, Page, call
from labelmill.client._wire.classification import ItemError, parse_error
from labelmill.client._wire.jobs import JobState, parse_state, parse_time
from labelmill.errors import DatasetError, FieldViolation, InvalidArgumentError
from labelmill.names import check_alias, check_model_name
from labelmill.v1 import training_pb2 as pb

_SERVICE = "/labelmill.v1.TrainingService"
UPLOAD = Method(f"{_SERVICE}/UploadDataset", pb.UploadDatasetRequest, pb.UploadDatasetResponse)
CREATE = Method(
    f"{_SERVICE}/CreateTrainingJob", pb.CreateTrainingJobRequest, pb.CreateTrainingJobResponse
)
GET = Method(f"{_SERVICE}/GetTrainingJob", pb.GetTrainingJobRequest, pb.GetTrainingJobResponse)
LIST = Method(
    f"{_SERVICE}/ListTrainingJobs", pb.ListTrainingJobsRequest, pb.ListTrainingJobsResponse
)
WATCH = Method(
    f"{_SERVICE}/WatchTrainingJob", pb.WatchTrainingJobRequest, pb.WatchTrainingJobResponse
)
CANCEL = Method(
    f"{_SERVICE}/CancelTrainingJob", pb.CancelTrainingJobRequest, pb.CancelTrainingJobResponse
)

#: Bytes of file in one message of an upload.
_PART_BYTES = 512 * 1024

_FORMATS = {
    ".csv": pb.DATASET_FORMAT_CSV,
    ".jsonl": pb.DATASET_FORMAT_JSONL,
    ".ndjson": pb.DATASET_FORMAT_JSONL,
    ".parquet": pb.DATASET_FORMAT_PARQUET,
}

JobKind = Literal["train", "import"]

_DATASET_ID = re.compile(r"[0-9a-f]{64}")


class TrainingConfig(TypedDict, total=False):
    """Hyper-parameters; what is left out takes the server's default by base model and labels."""

    #: ``minilm`` (packaged), a Hugging Face directory on the worker, or a hub name.
    base_model: str | None
    epochs: float | None
    learning_rate: float | None
    #: Texts an optimizer step.
    batch_size: int | None
    gradient_accumulation_steps: int | None
    weight_decay: float | None
    warmup_ratio: float | None
    max_grad_norm: float | None
    #: Tokens a text, special tokens included.
    max_length: int | None
    seed: int | None
    class_weights: bool | None
    label_smoothing: float | None
    early_stopping_patience: int | None
    freeze_backbone_epochs: int | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """An uploaded data set."""

    #: SHA-256 of its columns and bytes.
    id: str
    display_name: str
    text_column: str
    label_column: str
    size_bytes: int
    rows: int
    #: Rows by label, most frequent first.
    labels: dict[str, int]


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A training run or an import as it stood when it was read."""

    id: str
    state: JobState
    model: str
    dataset_id: str
    tenant: str
    stage: str
    #: Share of the whole run that is done, in [0, 1].
    progress: float
    last_sequence: int
    #: The registered version; 0 until SUCCEEDED.
    version: int
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    error: ItemError | None
    attempt: int
    kind: JobKind
    #: Of an import: the checkpoint's directory.
    source_directory: str
    #: Fields of the request that `error` is about → what is wrong with each.
    error_fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class TrainingEvent:
    """One thing that happened in a training run."""

    #: 1, 2, 3 ... within the job.
    sequence: int
    time: datetime | None
    stage: str
    #: Share of the whole run that is done, in [0, 1].
    progress: float
    message: str
    warning: bool
    metrics: dict[str, float]
    state: JobState


def is_dataset_id(text: str) -> bool:
    """True for what `upload_dataset` returns as an id."""
    return _DATASET_ID.fullmatch(text) is not None


def dataset_header(path: Path, text_column: str, label_column: str) -> pb.DatasetHeader:
    """The first message of an upload; raises InvalidArgumentError for an unknown extension."""
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise InvalidArgumentError.at(
            "dataset",
            f"{path.name} has an unknown extension {path.suffix!r}; use {', '.join(_FORMATS)}",
        )
    return pb.DatasetHeader(
        format=file_format,
        text_column=text_column,
        label_column=label_column,
        display_name=path.name,
    )


def open_dataset(path: Path) -> BinaryIO:
    """Opens the file; raises DatasetError when that is not possible."""
    try:
        return path.open("rb")
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}; give the path of a data set"
        raise DatasetError(text, violations=[FieldViolation("dataset", text)]) from error


def dataset_parts(header: pb.DatasetHeader, file: BinaryIO) -> Iterator[pb.UploadDatasetRequest]:
    """The messages of an upload."""
    yield pb.UploadDatasetRequest(header=header)
    while data := file.read(_PART_BYTES):
        yield pb.UploadDatasetRequest(data=data)


def parse_dataset(response: pb.UploadDatasetResponse) -> Dataset:
    """The data set as the server holds it."""
    message = response.dataset
    return Dataset(
        id=message.id,
        display_name=message.header.display_name,
        text_column=message.header.text_column,
        label_column=message.header.label_column,
        size_bytes=message.size_bytes,
        rows=message.row_count,
        labels={entry.label: entry.count for entry in message.labels},
    )


def create(
    *, model: str, alias: str | None, request_id: str | None, config: TrainingConfig
) -> Callable[[str], Call[TrainingJob]]:
    """Makes the call that queues a run on a data set; `alias` None moves none.

    It is made before the data set is uploaded, so that a slip of the pen costs no upload.

    Raises:
        InvalidArgumentError: a bad name, or a hyper-parameter that does not exist.
    """
    known = TrainingConfig.__annotations__
    for name in config:
        if name not in known:
            raise InvalidArgumentError.at(name, f"is no hyper-parameter; use {', '.join(known)}")
    request = pb.CreateTrainingJobRequest(
        request_id=request_id or str(uuid.uuid4()),
        model=check_model_name(model),
        alias=check_alias(alias) if alias else "",
    )
    for name, value in config.items():
        if value is None:
            continue
        try:
            setattr(request.config, name, value)
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError.at(f"config.{name}", f"{value!r}: {error}") from error

    def on(dataset_id: str) -> Call[TrainingJob]:
        request.dataset_id = dataset_id
        return call(CREATE, request, lambda r: parse_job(r.job))

    return on


def get(job_id: str) -> Call[TrainingJob]:
    """The job now."""
    return call(GET, pb.GetTrainingJobRequest(job_id=job_id), lambda r: parse_job(r.job))


def list_page(page_size: int, page_token: str) -> Call[Page[TrainingJob]]:
    """One page of jobs, newest first."""
    request = pb.ListTrainingJobsRequest(page_size=page_size, page_token=page_token)
    return call(LIST, request, lambda r: Page([parse_job(j) for j in r.jobs], r.next_page_token))


def cancel(job_id: str) -> Call[TrainingJob]:
    """Stops the run."""
    return call(CANCEL, pb.CancelTrainingJobRequest(job_id=job_id), lambda r: parse_job(r.job))


class TrainingWatch(Cursor[TrainingEvent]):
    """The events after `after_sequence`, until the job is final."""

    method = WATCH

    def __init__(self, job_id: str, after_sequence: int = 0) -> None:
        self._job_id = job_id
        self._after_sequence = after_sequence
        self._final = False
        self._received = False

    def request(self) -> pb.WatchTrainingJobRequest:
        """Asks for the events not yet received."""
        self._received = False
        return pb.WatchTrainingJobRequest(job_id=self._job_id, after_sequence=self._after_sequence)

    def receive(self, response: pb.WatchTrainingJobResponse) -> TrainingEvent:
        """The event as sent."""
        message = response.event
        self._after_sequence = message.sequence
        self._received = True
        state = parse_state(message.state)
        self._final = state.final
        return TrainingEvent(
            sequence=message.sequence,
            time=parse_time(message.time, present=message.HasField("time")),
            stage=message.stage,
            progress=message.progress,
            message=message.message,
            warning=message.warning,
            metrics=dict(message.metrics),
            state=state,
        )

    def complete(self, *, ended: bool) -> bool:
        """True after the event with a final state, or when the server has nothing to add."""
        return self._final or (ended and not self._received)


def parse_job(message: pb.TrainingJob) -> TrainingJob:
    """The job as the server holds it."""
    return TrainingJob(
        id=message.id,
        state=parse_state(message.state),
        model=message.model,
        dataset_id=message.dataset_id,
        tenant=message.tenant,
        stage=message.stage,
        progress=message.progress,
        last_sequence=message.last_sequence,
        version=message.model_version,
        created_at=parse_time(message.create_time, present=message.HasField("create_time")),
        started_at=parse_time(message.start_time, present=message.HasField("start_time")),
        ended_at=parse_time(message.end_time, present=message.HasField("end_time")),
        error=parse_error(message.error) if message.HasField("error") else None,
        attempt=message.attempt,
        kind="import" if message.kind == pb.TRAINING_JOB_KIND_IMPORT else "train",
        source_directory=message.source_directory,
        error_fields=dict(message.error_fields),
    )
