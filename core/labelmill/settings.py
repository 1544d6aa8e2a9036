"""Settings of every process, from `LABELMILL_*` environment variables or the command line.

Owns defaults and their documentation. Each field's environment variable is its upper-cased name
behind `LABELMILL_`, e.g. `LABELMILL_REDIS_URL`.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

#: Where clients look for the server and servers listen by default.
DEFAULT_ADDRESS = "127.0.0.1:50051"

#: Where `labelmill up` keeps Valkey's files, the registry and logs.
DEFAULT_DATA_DIR = Path(".labelmill")


def _split(value: object) -> object:
    """``"onnx,torch"`` → a list, from the environment or the command line."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return [name.strip() for part in value for name in str(part).split(",") if name.strip()]
    return value


class Settings(BaseSettings):
    """What every process needs to know."""

    model_config = SettingsConfigDict(env_prefix="LABELMILL_", extra="ignore")

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis or Valkey, 6.2 or later: redis://, rediss:// or unix://.",
    )
    registry: Path = Field(
        DEFAULT_DATA_DIR / "registry", description="Directory of model versions and data sets."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")


class ServerSettings(Settings):
    """The gRPC front."""

    address: str = Field(DEFAULT_ADDRESS, description="host:port to listen on.")
    reflection: bool = Field(True, description="Serve gRPC reflection.")
    drain_s: float = Field(
        20.0, ge=0, description="Seconds that calls under way get after SIGTERM."
    )
    default_deadline_s: float = Field(
        30.0, gt=0, description="Deadline of Classify calls that bring none, in seconds."
    )
    max_message_bytes: int = Field(
        32 * 1024 * 1024, ge=1024 * 1024, description="Largest gRPC message accepted."
    )
    max_online_requests: int = Field(
        4096, ge=1, description="Classify calls in flight per server; more are refused."
    )
    max_queued_requests: int = Field(
        16_384,
        ge=1,
        description="Classify calls waiting per engine family, over all servers; more are refused.",
    )
    max_queued_texts: int = Field(
        50_000_000, ge=1, description="Texts waiting in scoring jobs per tenant; more are refused."
    )
    memory_fraction: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Share of Redis maxmemory above which new texts are refused.",
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="Prometheus port; 0 serves none.")


class WorkerSettings(Settings):
    """The scoring and training worker."""

    engines: Annotated[list[str], NoDecode, BeforeValidator(_split)] = Field(
        ["onnx"], description="Engine families this worker serves, e.g. onnx,torch."
    )
    threads: int = Field(
        0, ge=0, description="Compute threads; 0 follows CPU affinity and the cgroup quota."
    )
    train: bool = Field(True, description="Run training jobs.")
    worker_id: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="Name of this worker, unique among living ones.",
    )
    max_loaded_models: int = Field(
        4, ge=1, description="Model versions kept in memory; the least recently used goes first."
    )
    drain_s: float = Field(20.0, ge=0, description="Seconds to finish work after SIGTERM.")
