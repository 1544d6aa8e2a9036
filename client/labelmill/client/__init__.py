"""The labelmill client: classify now, score in bulk, train, and manage models, over gRPC.

`Client` blocks, `AsyncClient` is its asyncio twin; both raise the classes of `labelmill.errors`.
"""

from labelmill.client import _quiet  # noqa: F401 - first, before anything else imports gRPC
from labelmill.client._aio.client import AsyncClient
from labelmill.client._sync.client import Client
from labelmill.client._wire.backoff import RetryPolicy
from labelmill.client._wire.classification import (
    Classification,
    ItemError,
    LabelScore,
    LongText,
    Result,
)
from labelmill.client._wire.jobs import Job, JobState, Priority
from labelmill.client._wire.models import Artifact, Gate, Model, ModelVersion
from labelmill.client._wire.results import ResultBatch, ScoredText
from labelmill.client._wire.training import Dataset, TrainingConfig, TrainingEvent, TrainingJob

__all__ = [
    "Artifact",
    "AsyncClient",
    "Classification",
    "Client",
    "Dataset",
    "Gate",
    "ItemError",
    "Job",
    "JobState",
    "LabelScore",
    "LongText",
    "Model",
    "ModelVersion",
    "Priority",
    "Result",
    "ResultBatch",
    "RetryPolicy",
    "ScoredText",
    "TrainingConfig",
    "TrainingEvent",
    "TrainingJob",
]
