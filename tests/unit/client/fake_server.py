"""A labelmill server without models or Redis: hand-written servicers on a real gRPC port.

Texts with "good" in them are positive, others negative; an empty text is an error row. Faults are
scheduled by RPC name with `fail` (before the RPC has an effect) and `lose_reply` (after it).
"""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from labelmill import errors
from labelmill.v1 import classification_pb2 as classification
from labelmill.v1 import (
    classification_pb2_grpc,
    models_pb2_grpc,
    scoring_pb2_grpc,
    training_pb2_grpc,
)
from labelmill.v1 import models_pb2 as models
from labelmill.v1 import scoring_pb2 as scoring
from labelmill.v1 import training_pb2 as training

FINAL = {
    scoring.JOB_STATE_SUCCEEDED,
    scoring.JOB_STATE_PARTIALLY_SUCCEEDED,
    scoring.JOB_STATE_FAILED,
    scoring.JOB_STATE_CANCELLED,
}

REPORT = (
    '{"baseline": {"accuracy": 0.5, "macro_f1": 0.4},'
    ' "test": {"fp32": {"accuracy": 0.9, "macro_f1": 0.89},'
    ' "int8": {"accuracy": 0.9, "macro_f1": 0.88}},'
    ' "gates": {"label_agreement": 0.997, "batch_flips": 0, "max_abs_dlogit": 0.2,'
    ' "size_ratio": 0.26, "passed": true}, "seconds": 12.5}'
)


@dataclass
class FakeJob:
    message: scoring.ScoringJob
    items: list[scoring.ScoringItem] = field(default_factory=list)


def rich(error: errors.LabelmillError) -> grpc.Status:
    """The status a real server sends for `error`."""
    details: list[Any] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason, domain=errors.DOMAIN, metadata=error.metadata
        )
    ]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=f, description=d)
                    for f, d in error.violations
                ]
            )
        )
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(retry)
    packed = []
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    code = getattr(grpc.StatusCode, error.code)
    return rpc_status.to_status(
        status_pb2.Status(code=code.value[0], message=error.message, details=packed)
    )


def result_of(text: str) -> classification.ClassificationResult:
    if not text.strip():
        return classification.ClassificationResult(
            error=classification.ItemError(reason="EMPTY_TEXT", message="the text is empty")
        )
    label, other = ("positive", "negative") if "good" in text else ("negative", "positive")
    return classification.ClassificationResult(
        label=label,
        score=0.75,
        scores=[
            classification.LabelScore(label=label, score=0.75),
            classification.LabelScore(label=other, score=0.25),
        ],
        token_count=len(text.split()) + 2,
        truncated=len(text.split()) > 126,
        windows=1,
    )


class FakeServer:
    """State that outlives `stop` and `start`, as Redis does for a real server."""

    def __init__(self) -> None:
        self.port = 0
        self.jobs: dict[str, FakeJob] = {}
        self.requests: dict[str, str] = {}
        self.aliases = {"default": 2, "canary": 3}
        self.etag = "etag-1"
        self.datasets: dict[str, training.Dataset] = {}
        self.training_jobs: dict[str, training.TrainingJob] = {}
        self.training_events: dict[str, list[training.TrainingEvent]] = {}
        #: Events that the next training job goes through, and its state at the end.
        self.training_script: list[training.TrainingEvent] = []
        #: Imports asked for.
        self.imports: list[models.ImportModelRequest] = []
        #: report.json of every version.
        self.report = REPORT
        #: Fields that a failing training job names.
        self.error_fields: dict[str, str] = {}
        #: Calls received, by RPC name.
        self.calls: dict[str, int] = defaultdict(int)
        #: Rows a stream of results or events sends before it breaks, once each.
        self.break_streams_after: deque[int] = deque()
        #: Results from this index on are not ready.
        self.hold_results_at: int | None = None
        #: Results that a stopped job never got.
        self.missing: set[int] = set()
        #: Uploads are refused with RetryInfo once a job holds so many items.
        self.overload_at: int | None = None
        #: Resume tokens that streams of results were asked for.
        self.resume_tokens: list[str] = []
        #: Offsets of the uploads received.
        self.offsets: list[int] = []
        self.changed = threading.Condition()
        self._before: dict[str, deque[errors.LabelmillError]] = defaultdict(deque)
        self._after: dict[str, deque[errors.LabelmillError]] = defaultdict(deque)
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        classification_pb2_grpc.add_ClassificationServiceServicer_to_server(Classify(self), server)
        scoring_pb2_grpc.add_ScoringJobServiceServicer_to_server(Scoring(self), server)
        training_pb2_grpc.add_TrainingServiceServicer_to_server(Training(self), server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(Models(self), server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        server.start()
        self._server = server

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(grace=0).wait()
            self._server = None

    def fail(self, rpc: str, *failures: errors.LabelmillError) -> None:
        """The next calls of `rpc` fail with these, before they have an effect."""
        self._before[rpc].extend(failures)

    def lose_reply(self, rpc: str, *failures: errors.LabelmillError) -> None:
        """The next calls of `rpc` do their work and then fail with these."""
        self._after[rpc].extend(failures)

    def enter(self, rpc: str, context: grpc.ServicerContext) -> None:
        self.calls[rpc] += 1
        if self._before[rpc]:
            context.abort_with_status(rich(self._before[rpc].popleft()))

    def leave(self, rpc: str, context: grpc.ServicerContext) -> None:
        if self._after[rpc]:
            context.abort_with_status(rich(self._after[rpc].popleft()))

    def version_of(self, model: str, context: grpc.ServicerContext) -> int:
        name, _, pointer = model.partition("@")
        versions = {**self.aliases, "": self.aliases["default"], "1": 1, "2": 2, "3": 3}
        if name != "reviews" or pointer not in versions:
            context.abort_with_status(
                rich(errors.ModelNotFoundError(f"there is no model {model!r}; models: reviews"))
            )
        return versions[pointer]

    def job(self, job_id: str, context: grpc.ServicerContext) -> FakeJob:
        if job_id not in self.jobs:
            context.abort_with_status(rich(errors.JobNotFoundError(f"there is no job {job_id!r}")))
        return self.jobs[job_id]

    def settle(self, job: FakeJob) -> None:
        """Counts the job's items and ends it when it is sealed; call with `changed` held."""
        message = job.message
        message.total_count = message.upload_offset = len(job.items)
        message.failed_count = sum(not item.text.strip() for item in job.items)
        message.succeeded_count = message.total_count - message.failed_count
        if message.sealed and message.state not in FINAL:
            message.state = (
                scoring.JOB_STATE_PARTIALLY_SUCCEEDED
                if message.failed_count
                else scoring.JOB_STATE_SUCCEEDED
            )
            message.end_time.GetCurrentTime()
        self.changed.notify_all()


class Classify(classification_pb2_grpc.ClassificationServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake

    def Classify(self, request, context):  # noqa: N802
        self.fake.enter("Classify", context)
        if not request.texts:
            context.abort_with_status(rich(errors.InvalidArgumentError.at("texts", "is empty")))
        return classification.ClassifyResponse(
            results=[result_of(text) for text in request.texts],
            model="reviews",
            model_version=self.fake.version_of(request.model, context),
            engine=request.engine or "onnx-int8",
            queue_ms=0.5,
            tokenize_ms=0.25,
            inference_ms=1.5,
            batch_size=len(request.texts),
        )


class Scoring(scoring_pb2_grpc.ScoringJobServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake

    def CreateScoringJob(self, request, context):  # noqa: N802
        self.fake.enter("CreateScoringJob", context)
        version = self.fake.version_of(request.model, context)
        with self.fake.changed:
            job_id = self.fake.requests.get(request.request_id)
            if job_id is None:
                job_id = self.fake.requests[request.request_id] = uuid.uuid4().hex
                message = scoring.ScoringJob(
                    id=job_id,
                    state=scoring.JOB_STATE_RUNNING,
                    model="reviews",
                    model_version=version,
                    engine=request.engine or "onnx-int8",
                    tenant="default",
                    priority=request.priority,
                    display_name=request.display_name,
                    sealed=not request.upload_pending,
                    options=request.options,
                )
                message.create_time.GetCurrentTime()
                job = self.fake.jobs[job_id] = FakeJob(message, list(request.inline_items.items))
                self.fake.settle(job)
        self.fake.leave("CreateScoringJob", context)
        return scoring.CreateScoringJobResponse(job=self.fake.jobs[job_id].message)

    def UploadScoringItems(self, request_iterator, context):  # noqa: N802
        self.fake.enter("UploadScoringItems", context)
        job = None
        for request in request_iterator:
            with self.fake.changed:
                job = job or self.fake.job(request.job_id, context)
                self._append(job, request, context)
        self.fake.leave("UploadScoringItems", context)
        return scoring.UploadScoringItemsResponse(job=job.message)

    def _append(self, job: FakeJob, request, context) -> None:
        held = len(job.items)
        self.fake.offsets.append(request.offset)
        if self.fake.overload_at is not None and held >= self.fake.overload_at:
            error = errors.OverloadedError("the queue is full", retry_after_s=0.05)
            context.abort_with_status(rich(error))
        if job.message.sealed or job.message.state in FINAL:
            error = errors.FailedPreconditionError(f"job {job.message.id} is sealed or finished")
            context.abort_with_status(rich(error))
        if request.offset > held:
            error = errors.OffsetGapError("gap", metadata={"expected_offset": str(held)})
            context.abort_with_status(rich(error))
        job.items.extend(list(request.items)[held - request.offset :])
        job.message.sealed = request.seal
        self.fake.settle(job)

    def GetScoringJob(self, request, context):  # noqa: N802
        self.fake.enter("GetScoringJob", context)
        return scoring.GetScoringJobResponse(job=self.fake.job(request.job_id, context).message)

    def ListScoringJobs(self, request, context):  # noqa: N802
        self.fake.enter("ListScoringJobs", context)
        chosen = [
            job.message
            for job in reversed(self.fake.jobs.values())
            if not request.states or job.message.state in request.states
        ]
        start = int(request.page_token or 0)
        end = start + (request.page_size or 100)
        return scoring.ListScoringJobsResponse(
            jobs=chosen[start:end], next_page_token=str(end) if end < len(chosen) else ""
        )

    def WatchScoringJob(self, request, context) -> Iterator[Any]:  # noqa: N802
        self.fake.enter("WatchScoringJob", context)
        job = self.fake.job(request.job_id, context)
        while context.is_active():
            with self.fake.changed:
                snapshot = scoring.ScoringJob()
                snapshot.CopyFrom(job.message)
            yield scoring.WatchScoringJobResponse(job=snapshot)
            if snapshot.state in FINAL:
                return
            if self.fake.break_streams_after:
                self.fake.break_streams_after.popleft()
                context.abort_with_status(rich(errors.QueueUnavailableError("Redis is away")))
            with self.fake.changed:
                self.fake.changed.wait_for(
                    lambda s=snapshot: job.message != s or not context.is_active(), timeout=1
                )

    def CancelScoringJob(self, request, context):  # noqa: N802
        self.fake.enter("CancelScoringJob", context)
        return scoring.CancelScoringJobResponse(
            job=self._move(request.job_id, scoring.JOB_STATE_CANCELLED, context)
        )

    def PauseScoringJob(self, request, context):  # noqa: N802
        self.fake.enter("PauseScoringJob", context)
        return scoring.PauseScoringJobResponse(
            job=self._move(request.job_id, scoring.JOB_STATE_PAUSED, context)
        )

    def ResumeScoringJob(self, request, context):  # noqa: N802
        self.fake.enter("ResumeScoringJob", context)
        return scoring.ResumeScoringJobResponse(
            job=self._move(request.job_id, scoring.JOB_STATE_RUNNING, context)
        )

    def _move(self, job_id: str, state: Any, context) -> scoring.ScoringJob:
        with self.fake.changed:
            job = self.fake.job(job_id, context)
            if job.message.state in FINAL:
                error = errors.FailedPreconditionError(f"job {job_id} has already finished")
                context.abort_with_status(rich(error))
            job.message.state = state
            self.fake.changed.notify_all()
        return job.message

    def DeleteScoringJob(self, request, context):  # noqa: N802
        self.fake.enter("DeleteScoringJob", context)
        self.fake.job(request.job_id, context)
        del self.fake.jobs[request.job_id]
        return scoring.DeleteScoringJobResponse()

    def StreamScoringResults(self, request, context) -> Iterator[Any]:  # noqa: N802
        self.fake.enter("StreamScoringResults", context)
        job = self.fake.job(request.job_id, context)
        self.fake.resume_tokens.append(request.resume_token)
        index = int(request.resume_token or 0)
        limit = self.fake.break_streams_after.popleft() if self.fake.break_streams_after else None
        while context.is_active():
            with self.fake.changed:
                self.fake.changed.wait_for(
                    lambda i=index: self._ready(job) > i or job.message.state in FINAL, timeout=0.2
                )
                ready = self._ready(job)
                batch = job.items[index : min(index + 100, ready)]
                final = job.message.state in FINAL and ready == len(job.items)
            if batch:
                yield scoring.StreamScoringResultsResponse(
                    results=[
                        scoring.ScoringResult(index=index + n, id=i.id, result=result_of(i.text))
                        for n, i in enumerate(batch)
                        if index + n not in self.fake.missing
                    ],
                    resume_token=str(index + len(batch)),
                )
                index += len(batch)
            elif final:
                return
            if limit is not None and index >= limit:
                context.abort_with_status(rich(errors.QueueUnavailableError("Redis is away")))

    def _ready(self, job: FakeJob) -> int:
        held = self.fake.hold_results_at
        return len(job.items) if held is None else min(held, len(job.items))


class Training(training_pb2_grpc.TrainingServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake

    def UploadDataset(self, request_iterator, context):  # noqa: N802
        self.fake.enter("UploadDataset", context)
        header = next(request_iterator).header
        data = b"".join(request.data for request in request_iterator)
        if header.text_column.encode() not in data.split(b"\n")[0]:
            error = errors.DatasetError(
                f"there is no column {header.text_column!r}",
                violations=[errors.FieldViolation("header.text_column", "is not in the file")],
            )
            context.abort_with_status(rich(error))
        dataset = training.Dataset(
            id=f"{len(data):064x}",
            header=header,
            size_bytes=len(data),
            row_count=data.count(b"\n") - 1,
            labels=[training.LabelCount(label="positive", count=2)],
        )
        self.fake.datasets[dataset.id] = dataset
        self.fake.leave("UploadDataset", context)
        return training.UploadDatasetResponse(dataset=dataset)

    def CreateTrainingJob(self, request, context):  # noqa: N802
        self.fake.enter("CreateTrainingJob", context)
        if request.dataset_id not in self.fake.datasets:
            context.abort_with_status(rich(errors.DatasetNotFoundError("no such data set")))
        if request.config.HasField("epochs") and request.config.epochs <= 0:
            context.abort_with_status(
                rich(errors.InvalidArgumentError.at("config.epochs", "must be in (0, 100]"))
            )
        job_id = self.fake.requests.setdefault(request.request_id, f"train-{uuid.uuid4().hex}")
        if job_id not in self.fake.training_jobs:
            self.fake.training_jobs[job_id] = training.TrainingJob(
                id=job_id,
                state=training_state("QUEUED"),
                model=request.model,
                dataset_id=request.dataset_id,
                config=request.config,
            )
            self.fake.training_events[job_id] = list(self.fake.training_script)
        self.fake.leave("CreateTrainingJob", context)
        return training.CreateTrainingJobResponse(job=self.fake.training_jobs[job_id])

    def GetTrainingJob(self, request, context):  # noqa: N802
        self.fake.enter("GetTrainingJob", context)
        return training.GetTrainingJobResponse(job=self._job(request.job_id, context))

    def _job(self, job_id: str, context) -> training.TrainingJob:
        if job_id not in self.fake.training_jobs:
            context.abort_with_status(rich(errors.JobNotFoundError(f"there is no job {job_id!r}")))
        return self.fake.training_jobs[job_id]

    def ListTrainingJobs(self, request, context):  # noqa: N802
        self.fake.enter("ListTrainingJobs", context)
        return training.ListTrainingJobsResponse(jobs=reversed(self.fake.training_jobs.values()))

    def WatchTrainingJob(self, request, context) -> Iterator[Any]:  # noqa: N802
        self.fake.enter("WatchTrainingJob", context)
        job = self._job(request.job_id, context)
        limit = self.fake.break_streams_after.popleft() if self.fake.break_streams_after else None
        sent = 0
        for event in self.fake.training_events[job.id]:
            if event.sequence <= request.after_sequence:
                continue
            job.state, job.stage, job.progress = event.state, event.stage, event.progress
            job.last_sequence = event.sequence
            if event.state == training_state("SUCCEEDED"):
                job.model_version = 2
            if event.state == training_state("FAILED"):
                reason = "INVALID_ARGUMENT" if self.fake.error_fields else "GATE_FAILED"
                job.error.reason, job.error.message = reason, event.message
                job.error_fields.update(self.fake.error_fields)
            yield training.WatchTrainingJobResponse(event=event)
            sent += 1
            if sent == limit:
                context.abort_with_status(rich(errors.QueueUnavailableError("Redis is away")))
        while job.state not in FINAL and context.is_active():
            with self.fake.changed:
                self.fake.changed.wait(timeout=0.2)

    def CancelTrainingJob(self, request, context):  # noqa: N802
        self.fake.enter("CancelTrainingJob", context)
        job = self._job(request.job_id, context)
        job.state = training_state("CANCELLED")
        return training.CancelTrainingJobResponse(job=job)


class Models(models_pb2_grpc.ModelServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake

    def ListModels(self, request, context):  # noqa: N802
        self.fake.enter("ListModels", context)
        return models.ListModelsResponse(models=[self._model()])

    def _model(self) -> models.Model:
        return models.Model(
            name="reviews",
            aliases=[models.ModelAlias(alias=a, version=v) for a, v in self.fake.aliases.items()],
            latest_version=3,
            version_count=3,
            etag=self.fake.etag,
        )

    def _version(self, number: int) -> models.ModelVersion:
        return models.ModelVersion(
            model="reviews",
            version=number,
            labels=["negative", "positive"],
            base_model="minilm",
            architecture="bert",
            max_length=128,
            threshold=0.5,
            engines=["onnx-int8", "onnx-fp32"],
            gates=[
                models.Gate(
                    name="int8.label_agreement",
                    value=0.997,
                    limit=0.99,
                    at_least=True,
                    passed=True,
                )
            ],
            aliases=[alias for alias, version in self.fake.aliases.items() if version == number],
            metrics={"int8.accuracy": 0.9},
            artifacts=[models.Artifact(name="model.int8.onnx", size_bytes=24_000_000, sha256="00")],
            location=f"/registry/models/reviews/{number}",
        )

    def GetModel(self, request, context):  # noqa: N802
        self.fake.enter("GetModel", context)
        self.fake.version_of(request.name, context)
        return models.GetModelResponse(model=self._model())

    def ListModelVersions(self, request, context):  # noqa: N802
        self.fake.enter("ListModelVersions", context)
        self.fake.version_of(request.model, context)
        start = int(request.page_token or 3)
        return models.ListModelVersionsResponse(
            versions=[self._version(start)], next_page_token=str(start - 1) if start > 1 else ""
        )

    def GetModelVersion(self, request, context):  # noqa: N802
        self.fake.enter("GetModelVersion", context)
        number = self.fake.version_of(request.model, context)
        return models.GetModelVersionResponse(
            version=self._version(number), report_json=self.fake.report
        )

    def SetModelAlias(self, request, context):  # noqa: N802
        self.fake.enter("SetModelAlias", context)
        if request.etag and request.etag != self.fake.etag:
            context.abort_with_status(rich(errors.EtagMismatchError("the aliases have changed")))
        self.fake.aliases[request.alias] = request.version
        self.fake.etag = f"etag-{uuid.uuid4().hex}"
        self.fake.leave("SetModelAlias", context)
        return models.SetModelAliasResponse(model=self._model())

    def ImportModel(self, request, context):  # noqa: N802
        self.fake.enter("ImportModel", context)
        if not request.source_directory.startswith("/"):
            error = errors.InvalidArgumentError.at("source_directory", "give an absolute path")
            context.abort_with_status(rich(error))
        job_id = self.fake.requests.setdefault(request.request_id, f"train-{uuid.uuid4().hex}")
        if job_id not in self.fake.training_jobs:
            self.fake.imports.append(request)
            self.fake.training_jobs[job_id] = training.TrainingJob(
                id=job_id,
                state=training_state("QUEUED"),
                model=request.model,
                kind=training.TRAINING_JOB_KIND_IMPORT,
                source_directory=request.source_directory,
            )
            self.fake.training_events[job_id] = list(self.fake.training_script)
        self.fake.leave("ImportModel", context)
        return models.ImportModelResponse(job=self.fake.training_jobs[job_id])

    def RollbackModel(self, request, context):  # noqa: N802
        self.fake.enter("RollbackModel", context)
        error = errors.UnimplementedError("RollbackModel comes with a later release")
        context.abort_with_status(rich(error))


def training_state(name: str) -> scoring.JobState.ValueType:
    return scoring.JobState.Value(f"JOB_STATE_{name}")


def training_event(
    sequence: int, stage: str, state: str = "RUNNING", **fields: Any
) -> training.TrainingEvent:
    return training.TrainingEvent(
        sequence=sequence, stage=stage, state=training_state(state), **fields
    )
