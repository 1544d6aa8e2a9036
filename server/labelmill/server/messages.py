"""From records of the queue and the registry to the messages of the wire."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from labelmill.queue.aliases import AliasTable
from labelmill.queue.job import JobRecord
from labelmill.queue.training import TrainingRecord
from labelmill.registry import Manifest
from labelmill.registry.dataset_check import DatasetMeta
from labelmill.server.resolve import engines_of
from labelmill.v1 import models_pb2, scoring_pb2, training_pb2
from labelmill.v1.classification_pb2 import ItemError


def scoring_job(record: JobRecord) -> scoring_pb2.ScoringJob:
    """A scoring job as last read."""
    return scoring_pb2.ScoringJob(
        id=record.id,
        state=scoring_pb2.JobState.Value(f"JOB_STATE_{record.state}"),
        model=record.model,
        model_version=record.version,
        engine=record.engine,
        tenant=record.tenant,
        priority=scoring_pb2.JobPriority.Value(f"JOB_PRIORITY_{record.priority}"),
        total_count=record.total,
        succeeded_count=record.succeeded,
        failed_count=record.failed,
        token_count=record.tokens,
        sealed=record.sealed,
        upload_offset=record.total,
        retried_chunk_count=record.retried,
        create_time=_time(record.created),
        start_time=_time(record.started),
        end_time=_time(record.ended),
        expire_time=_time(record.expire),
        error=_error(record.error_reason, record.error_message),
        options=record.options,
        display_name=record.display_name,
    )


def training_job(record: TrainingRecord) -> training_pb2.TrainingJob:
    """A training job as last read."""
    return training_pb2.TrainingJob(
        id=record.id,
        state=scoring_pb2.JobState.Value(f"JOB_STATE_{record.state}"),
        model=record.model,
        dataset_id=record.dataset_id,
        config=record.config,
        tenant=record.tenant,
        stage=record.stage,
        progress=record.progress,
        last_sequence=record.sequence,
        model_version=record.version,
        create_time=_time(record.created),
        start_time=_time(record.started),
        end_time=_time(record.ended),
        error=_error(record.error_reason, record.error_message),
        attempt=record.attempt,
        kind=training_pb2.TrainingJobKind.Value(f"TRAINING_JOB_KIND_{record.kind.upper()}"),
        source_directory=record.source,
        error_fields=record.error_fields,
    )


def dataset(meta: DatasetMeta) -> training_pb2.Dataset:
    """A stored data set."""
    return training_pb2.Dataset(
        id=meta.id,
        header=training_pb2.DatasetHeader(
            format=training_pb2.DatasetFormat.Value(f"DATASET_FORMAT_{meta.format.upper()}"),
            text_column=meta.text_column,
            label_column=meta.label_column,
            display_name=meta.display_name,
        ),
        size_bytes=meta.size_bytes,
        row_count=meta.row_count,
        labels=[
            training_pb2.LabelCount(label=entry.label, count=entry.count) for entry in meta.labels
        ],
    )


def model(name: str, versions: list[int], table: AliasTable) -> models_pb2.Model:
    """A model with its aliases; `versions` ascending."""
    return models_pb2.Model(
        name=name,
        aliases=[
            models_pb2.ModelAlias(alias=alias, version=version)
            for alias, version in sorted(table.versions.items())
        ],
        latest_version=versions[-1],
        version_count=len(versions),
        etag=table.etag,
    )


def model_version(manifest: Manifest, table: AliasTable, location: str) -> models_pb2.ModelVersion:
    """A registered version."""
    created = Timestamp()
    created.FromDatetime(manifest.created_at)
    return models_pb2.ModelVersion(
        model=manifest.model,
        version=manifest.version,
        labels=manifest.labels,
        create_time=created,
        base_model=manifest.base_model,
        architecture=manifest.architecture,
        max_length=manifest.max_length,
        multi_label=manifest.problem_type == "multi_label",
        threshold=manifest.threshold,
        engines=engines_of(manifest),
        gates=[
            models_pb2.Gate(
                name=gate.name,
                value=gate.value,
                limit=gate.limit,
                at_least=gate.at_least,
                passed=gate.passed,
            )
            for gate in manifest.gates
        ],
        aliases=sorted(
            alias for alias, version in table.versions.items() if version == manifest.version
        ),
        metrics=manifest.metrics,
        artifacts=[
            models_pb2.Artifact(name=name, size_bytes=file.size_bytes, sha256=file.sha256)
            for name, file in manifest.artifacts.items()
        ],
        location=location,
    )


def _time(ms: int) -> Timestamp | None:
    if not ms:
        return None
    moment = Timestamp()
    moment.FromMilliseconds(ms)
    return moment


def _error(reason: str, message: str) -> ItemError | None:
    return ItemError(reason=reason, message=message) if reason else None
