"""What Redis holds of one scoring job, as Python sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labelmill.v1.classification_pb2 import ScoringOptions

#: Weight of a tenant's share, by JobPriority name.
WEIGHTS = {"LOW": 1, "NORMAL": 4, "HIGH": 8}

FINAL_STATES = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})


@dataclass(frozen=True)
class NewJob:
    """What is pinned when a job is created."""

    tenant: str
    model: str
    version: int
    #: Concrete engine, e.g. ``onnx-int8``.
    engine: str
    priority: str
    options: ScoringOptions
    max_failed_fraction: float
    retention_ms: int
    #: Milliseconds since the epoch; 0 for none.
    deadline_ms: int
    display_name: str

    def fields(self) -> list[str | bytes | int | float]:
        """Field, value, ... for the job's hash."""
        return [
            "tenant", self.tenant,
            "model", self.model,
            "version", self.version,
            "engine", self.engine,
            "priority", self.priority,
            "weight", WEIGHTS[self.priority],
            "options", self.options.SerializeToString(),
            "max_failed", self.max_failed_fraction,
            "retention_ms", self.retention_ms,
            "deadline", self.deadline_ms,
            "name", self.display_name,
        ]  # fmt: skip


@dataclass(frozen=True)
class JobRecord:
    """A job as last read. Times are ms since the epoch, 0 where not yet set."""

    id: str
    state: str
    tenant: str
    model: str
    version: int
    engine: str
    priority: str
    options: ScoringOptions
    display_name: str
    total: int
    succeeded: int
    failed: int
    tokens: int
    retried: int
    sealed: bool
    created: int
    started: int
    ended: int
    expire: int
    deadline: int
    error_reason: str
    error_message: str

    @property
    def final(self) -> bool:
        """Whether the state can no longer change."""
        return self.state in FINAL_STATES

    @classmethod
    def parse(cls, job: str, fields: Mapping[bytes, bytes]) -> JobRecord:
        """Reads the job's hash."""

        def text(name: str) -> str:
            return fields.get(name.encode(), b"").decode()

        def number(name: str) -> int:
            return int(fields.get(name.encode(), b"0"))

        return cls(
            id=job,
            state=text("state"),
            tenant=text("tenant"),
            model=text("model"),
            version=number("version"),
            engine=text("engine"),
            priority=text("priority"),
            options=ScoringOptions.FromString(fields.get(b"options", b"")),
            display_name=text("name"),
            total=number("total"),
            succeeded=number("succeeded"),
            failed=number("failed"),
            tokens=number("tokens"),
            retried=number("retried"),
            sealed=text("sealed") == "1",
            created=number("created"),
            started=number("started"),
            ended=number("ended"),
            expire=number("expire"),
            deadline=number("deadline"),
            error_reason=text("error_reason"),
            error_message=text("error_message"),
        )
