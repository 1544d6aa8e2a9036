"""Models: their versions, gates, artifacts and aliases."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from labelmill.client._wire.call import Call, Method, Page, call
from labelmill.client._wire.classification import check_text
from labelmill.client._wire.jobs import one_string, parse_time
from labelmill.client._wire.training import TrainingJob, parse_job
from labelmill.errors import InvalidArgumentError
from labelmill.names import check_alias, check_model_name
from labelmill.v1 import models_pb2 as pb

_SERVICE = "/labelmill.v1.ModelService"
LIST = Method(f"{_SERVICE}/ListModels", pb.ListModelsRequest, pb.ListModelsResponse)
GET = Method(f"{_SERVICE}/GetModel", pb.GetModelRequest, pb.GetModelResponse)
LIST_VERSIONS = Method(
    f"{_SERVICE}/ListModelVersions", pb.ListModelVersionsRequest, pb.ListModelVersionsResponse
)
GET_VERSION = Method(
    f"{_SERVICE}/GetModelVersion", pb.GetModelVersionRequest, pb.GetModelVersionResponse
)
SET_ALIAS = Method(f"{_SERVICE}/SetModelAlias", pb.SetModelAliasRequest, pb.SetModelAliasResponse)
ROLLBACK = Method(f"{_SERVICE}/RollbackModel", pb.RollbackModelRequest, pb.RollbackModelResponse)
DELETE_VERSION = Method(
    f"{_SERVICE}/DeleteModelVersion", pb.DeleteModelVersionRequest, pb.DeleteModelVersionResponse
)
IMPORT = Method(f"{_SERVICE}/ImportModel", pb.ImportModelRequest, pb.ImportModelResponse)


@dataclass(frozen=True, slots=True)
class Model:
    """A name, its aliases and how many versions there are."""

    name: str
    #: Alias → version.
    aliases: dict[str, int]
    latest_version: int
    version_count: int
    #: Changes whenever an alias moves; give it to `set_alias`.
    etag: str


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing an exported model had to prove."""

    name: str
    value: float
    limit: float
    #: True when the value must be at least the limit, false when at most.
    at_least: bool
    passed: bool


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a version."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """An immutable version; `report` is None where it was not asked for or there is none."""

    model: str
    version: int
    labels: list[str]
    created_at: datetime | None
    base_model: str
    architecture: str
    #: Tokens a text, special tokens included.
    max_length: int
    multi_label: bool
    #: Score below which the label is UNKNOWN; 0 switches it off.
    threshold: float
    #: The default first.
    engines: list[str]
    gates: list[Gate]
    aliases: list[str]
    #: Figures on the test split, e.g. ``int8.accuracy``.
    metrics: dict[str, float]
    artifacts: list[Artifact]
    #: Where the files lie, as the server sees them.
    location: str
    report: dict[str, Any] | None = None


def list_page(page_size: int, page_token: str) -> Call[Page[Model]]:
    """One page of models by name."""
    request = pb.ListModelsRequest(page_size=page_size, page_token=page_token)
    return call(LIST, request, lambda r: Page([_model(m) for m in r.models], r.next_page_token))


def get(name: str) -> Call[Model]:
    """One model."""
    return call(GET, pb.GetModelRequest(name=name), lambda r: _model(r.model))


def versions_page(model: str, page_size: int, page_token: str) -> Call[Page[ModelVersion]]:
    """One page of a model's versions, newest first."""
    request = pb.ListModelVersionsRequest(model=model, page_size=page_size, page_token=page_token)
    return call(
        LIST_VERSIONS,
        request,
        lambda r: Page([_version(v) for v in r.versions], r.next_page_token),
    )


def get_version(model: str, *, verify: bool) -> Call[ModelVersion]:
    """One version with its report."""
    request = pb.GetModelVersionRequest(model=model, verify=verify)
    return call(GET_VERSION, request, lambda r: _version(r.version, r.report_json))


def set_alias(model: str, alias: str, version: int, etag: str) -> Call[Model]:
    """Moves an alias."""
    request = pb.SetModelAliasRequest(model=model, alias=alias, version=version, etag=etag)
    # With an etag the second of two executions fails on the change that the first one made.
    return call(SET_ALIAS, request, lambda r: _model(r.model), repeatable=not etag)


def rollback(model: str, alias: str) -> Call[Model]:
    """Points an alias back at the version it had before."""
    request = pb.RollbackModelRequest(model=model, alias=alias)
    return call(ROLLBACK, request, lambda r: _model(r.model), repeatable=False)


def delete_version(model: str, version: int) -> Call[None]:
    """Deletes a version."""
    request = pb.DeleteModelVersionRequest(model=model, version=version)
    return call(DELETE_VERSION, request, lambda _: None, repeatable=False)


def import_model(
    source_directory: str | Path,
    *,
    model: str,
    calibration_texts: Sequence[str],
    calibration_labels: Sequence[str],
    max_length: int | None,
    alias: str | None,
    request_id: str | None,
) -> Call[TrainingJob]:
    """Queues the import of a checkpoint that the workers see; `alias` None moves none.

    Raises:
        InvalidArgumentError: a bad name, or what is no text.
    """
    for field, texts in (
        ("calibration_texts", calibration_texts),
        ("calibration_labels", calibration_labels),
    ):
        if isinstance(texts, str):
            raise one_string(field)
        for index, text in enumerate(texts):
            check_text(text, f"{field}[{index}]")
    request = pb.ImportModelRequest(
        source_directory=str(source_directory),
        model=check_model_name(model),
        calibration_texts=calibration_texts,
        calibration_labels=calibration_labels,
        alias=check_alias(alias) if alias else "",
        request_id=request_id or str(uuid.uuid4()),
        # Followed by its events, an import survives a broken connection and can be watched.
        detach=True,
    )
    if max_length is not None:
        try:
            request.max_length = max_length
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError.at("max_length", f"{max_length!r}: {error}") from error
    return call(IMPORT, request, lambda r: parse_job(r.job))


def _model(message: pb.Model) -> Model:
    return Model(
        name=message.name,
        aliases={entry.alias: entry.version for entry in message.aliases},
        latest_version=message.latest_version,
        version_count=message.version_count,
        etag=message.etag,
    )


def _version(message: pb.ModelVersion, report_json: str = "") -> ModelVersion:
    return ModelVersion(
        model=message.model,
        version=message.version,
        labels=list(message.labels),
        created_at=parse_time(message.create_time, present=message.HasField("create_time")),
        base_model=message.base_model,
        architecture=message.architecture,
        max_length=message.max_length,
        multi_label=message.multi_label,
        threshold=message.threshold,
        engines=list(message.engines),
        gates=[Gate(g.name, g.value, g.limit, g.at_least, g.passed) for g in message.gates],
        aliases=list(message.aliases),
        metrics=dict(message.metrics),
        artifacts=[Artifact(a.name, a.size_bytes, a.sha256) for a in message.artifacts],
        location=message.location,
        report=json.loads(report_json) if report_json else None,
    )
