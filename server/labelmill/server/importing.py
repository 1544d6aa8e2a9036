"""Imports: what may be asked for, queueing it, and waiting for its end.

The work itself is a worker's; this side holds no more than the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import PurePosixPath

from labelmill.errors import (
    CancelledError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NoWorkerError,
    by_reason,
)
from labelmill.names import DEFAULT_ALIAS, check_alias, check_model_name
from labelmill.queue.training import TrainingRecord
from labelmill.server import validate
from labelmill.server.admission import Admission
from labelmill.server.monitor import Monitor
from labelmill.server.runs import Runs
from labelmill.server.stores import Stores
from labelmill.v1 import models_pb2 as pb

#: Calibration texts of one import, and their bytes of UTF-8 together with their labels.
MAX_TEXTS, MAX_BYTES = 5_000, 8 << 20

#: Bytes of a directory's path.
_MAX_PATH_BYTES = 4096

#: Tokens a text, at least; how many the checkpoint reads is for the worker to see.
_LEAST_TOKENS = 8

#: Seconds until an import that met no worker should be tried again.
_NO_WORKER_RETRY_S = 1.0


class Importer:
    """Queues imports and follows them."""

    def __init__(self, stores: Stores, admission: Admission, runs: Runs, monitor: Monitor) -> None:
        self._jobs = stores.training
        self._admission = admission
        self._runs = runs
        self._monitor = monitor

    async def create(self, request: pb.ImportModelRequest, tenant: str) -> TrainingRecord:
        """Queues the import, or finds the one that the request_id made before.

        Raises:
            InvalidArgumentError: a field is wrong.
            NoWorkerError: the caller wants to wait, and no living worker trains.
            OverloadedError: Redis is full.
            RequestIdReusedError: the request_id was used for a different request.
        """
        alias = request.alias if request.HasField("alias") else DEFAULT_ALIAS
        _check(request, alias)
        if not request.detach:
            await self._need_worker()
        self._admission.memory()
        asked = pb.ImportModelRequest()
        asked.CopyFrom(request)
        # Waiting or not, it is the same import.
        asked.ClearField("request_id")
        asked.ClearField("detach")
        return await self._jobs.create_import(
            tenant=tenant,
            request=asked,
            alias=alias,
            request_id=request.request_id,
            digest=asked.SerializeToString(deterministic=True),
        )

    async def finish(self, job: str) -> TrainingRecord:
        """Waits for the job's end.

        Raises:
            LabelmillError: it failed; the class goes by its reason.
            CancelledError: it was cancelled.
        """
        async with aclosing(self._runs.follow(job)) as events:
            async for _ in events:
                pass
        record = await self._jobs.get(job)
        metadata = {"job_id": job}
        if record.state == "CANCELLED":
            raise CancelledError(f"job {job} was cancelled", metadata=metadata)
        if record.state != "SUCCEEDED":
            violations = [FieldViolation(*pair) for pair in record.error_fields.items()]
            kind = by_reason().get(record.error_reason, InternalError)
            raise kind(record.error_message, violations=violations, metadata=metadata)
        return record

    async def _need_worker(self) -> None:
        view = await self._monitor.fresh()
        self._monitor.check()
        if not any(worker.trains for worker in view.workers):
            raise NoWorkerError(
                "no living worker trains, and only those import; start one with `labelmill "
                "worker`, without --no-train",
                retry_after_s=_NO_WORKER_RETRY_S,
            )


def _check(request: pb.ImportModelRequest, alias: str) -> None:
    validate.request_id(request.request_id)
    check_model_name(request.model)
    if alias:
        check_alias(alias)
    _check_directory(request.source_directory)
    if request.HasField("max_length") and request.max_length < _LEAST_TOKENS:
        raise InvalidArgumentError.at(
            "max_length", f"is {request.max_length}; use {_LEAST_TOKENS} or more"
        )
    _check_texts(request.calibration_texts, request.calibration_labels)


def _check_directory(path: str) -> None:
    if not path:
        raise InvalidArgumentError.at(
            "source_directory", "is empty; name a Hugging Face directory that the workers see"
        )
    if len(path.encode()) > _MAX_PATH_BYTES or "\0" in path:
        raise InvalidArgumentError.at("source_directory", "is no path")
    if not PurePosixPath(path).is_absolute():
        raise InvalidArgumentError.at(
            "source_directory",
            f"is {path!r}, which means something else on every machine; give an absolute path",
        )


def _check_texts(texts: Sequence[str], labels: Sequence[str]) -> None:
    if len(texts) > MAX_TEXTS:
        raise InvalidArgumentError.at(
            "calibration_texts", f"has {len(texts)} texts; send a sample of at most {MAX_TEXTS}"
        )
    size = sum(len(text.encode()) for text in (*texts, *labels))
    if size > MAX_BYTES:
        raise InvalidArgumentError.at(
            "calibration_texts", f"has {size} bytes; send a sample of at most {MAX_BYTES >> 20} MiB"
        )
    if labels and len(labels) != len(texts):
        raise InvalidArgumentError.at(
            "calibration_labels",
            f"has {len(labels)} entries for {len(texts)} texts; give one each, or none at all",
        )
    wrong = validate.Violations()
    for index, text in enumerate(texts):
        if not text or text.isspace():
            wrong.add(f"calibration_texts[{index}]", "is empty or blank; leave it out")
    wrong.check()
