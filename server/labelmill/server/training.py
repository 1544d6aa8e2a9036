"""TrainingService: data sets and training jobs."""

# ruff: noqa: ARG002, N802 - names and arguments are those of the generated base class

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from labelmill.errors import InvalidArgumentError
from labelmill.names import DEFAULT_ALIAS, check_alias, check_model_name
from labelmill.registry.dataset_check import DatasetHeader
from labelmill.registry.datasets import DatasetStore, DatasetWriter
from labelmill.server import pages, validate
from labelmill.server.admission import Admission
from labelmill.server.messages import dataset, training_job
from labelmill.server.runs import Runs
from labelmill.server.scoring import place_of
from labelmill.server.stores import Stores
from labelmill.server.threads import finished_in_thread, opened_in_thread
from labelmill.training import TrainingConfig
from labelmill.v1 import training_pb2 as pb
from labelmill.v1.training_pb2_grpc import TrainingServiceServicer

#: Bytes of one piece of a data set.
_MAX_PIECE_BYTES = 1 << 20


class TrainingService(TrainingServiceServicer):
    """Uploads data sets and queues training jobs; workers run them and move the alias."""

    def __init__(
        self,
        stores: Stores,
        datasets: DatasetStore,
        admission: Admission,
        runs: Runs,
    ) -> None:
        self._jobs = stores.training
        self._datasets = datasets
        self._admission = admission
        self._runs = runs

    async def UploadDataset(
        self, request_iterator: AsyncIterator[pb.UploadDatasetRequest], context: Any
    ) -> pb.UploadDatasetResponse:
        """See training.proto."""
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidArgumentError.at("header", "is missing in the first message")
        header = _header(first.header)
        async with opened_in_thread(self._datasets.begin, DatasetWriter.abort) as writer:
            async for message in request_iterator:
                if message.WhichOneof("part") != "data":
                    raise InvalidArgumentError.at("data", "is missing after the first message")
                if len(message.data) > _MAX_PIECE_BYTES:
                    raise InvalidArgumentError.at(
                        "data", f"has {len(message.data)} bytes; send at most 1 MiB a message"
                    )
                await finished_in_thread(writer.write, message.data)
            meta = await finished_in_thread(writer.finish, header)
        return pb.UploadDatasetResponse(dataset=dataset(meta))

    async def CreateTrainingJob(
        self, request: pb.CreateTrainingJobRequest, context: Any
    ) -> pb.CreateTrainingJobResponse:
        """See training.proto."""
        tenant = validate.tenant(context)
        validate.request_id(request.request_id)
        check_model_name(request.model)
        alias = request.alias if request.HasField("alias") else DEFAULT_ALIAS
        if alias:
            check_alias(alias)
        TrainingConfig.checked(_given(request.config))
        if not request.dataset_id:
            raise InvalidArgumentError.at("dataset_id", "is empty; upload a data set first")
        await finished_in_thread(self._datasets.get, request.dataset_id)
        self._admission.memory()
        request_id, request.request_id = request.request_id, ""
        record = await self._jobs.create(
            tenant=tenant,
            model=request.model,
            dataset_id=request.dataset_id,
            config=request.config,
            alias=alias,
            request_id=request_id,
            digest=request.SerializeToString(deterministic=True),
        )
        return pb.CreateTrainingJobResponse(job=training_job(record))

    async def GetTrainingJob(
        self, request: pb.GetTrainingJobRequest, context: Any
    ) -> pb.GetTrainingJobResponse:
        """See training.proto."""
        return pb.GetTrainingJobResponse(job=training_job(await self._jobs.get(request.job_id)))

    async def ListTrainingJobs(
        self, request: pb.ListTrainingJobsRequest, context: Any
    ) -> pb.ListTrainingJobsResponse:
        """See training.proto."""
        size = pages.page_size(request.page_size, default=100, most=1000)
        after = place_of("trainings", request.page_token)
        records, after = await self._jobs.newest(after=after, limit=size)
        return pb.ListTrainingJobsResponse(
            jobs=[training_job(record) for record in records],
            next_page_token="" if after is None else pages.token("trainings", *after),
        )

    async def WatchTrainingJob(
        self, request: pb.WatchTrainingJobRequest, context: Any
    ) -> AsyncIterator[pb.WatchTrainingJobResponse]:
        """See training.proto."""
        after = request.after_sequence
        if not 0 <= after < 2**63 - 1:
            raise InvalidArgumentError.at("after_sequence", f"is {after}; use 0 or more")
        async with aclosing(self._runs.follow(request.job_id, after)) as events:
            async for event in events:
                yield pb.WatchTrainingJobResponse(event=event)

    async def CancelTrainingJob(
        self, request: pb.CancelTrainingJobRequest, context: Any
    ) -> pb.CancelTrainingJobResponse:
        """See training.proto."""
        return pb.CancelTrainingJobResponse(
            job=training_job(await self._jobs.cancel(request.job_id))
        )


def _header(given: pb.DatasetHeader) -> DatasetHeader:
    validate.choice(given.format, pb.DatasetFormat, "header.format")
    if given.format == pb.DATASET_FORMAT_UNSPECIFIED:
        raise InvalidArgumentError.at(
            "header.format", "is missing; use " + ", ".join(pb.DatasetFormat.keys()[1:])
        )
    for field in ("text_column", "label_column", "display_name"):
        validate.name(getattr(given, field), f"header.{field}")
    return DatasetHeader.checked(
        pb.DatasetFormat.Name(given.format).removeprefix("DATASET_FORMAT_").lower(),
        given.text_column,
        given.label_column,
        given.display_name,
    )


def _given(config: pb.TrainingConfig) -> dict[str, Any]:
    """The fields that were set."""
    return {field.name: value for field, value in config.ListFields()}
