"""Which workers live, and what they serve. A worker that stops announcing itself is dead."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import redis
import redis.asyncio

from labelmill.queue.keys import Keys

#: A worker that has not announced itself for this long is dead, in ms.
LIFE_MS = 6_000

#: Seconds between announcements.
ANNOUNCE_S = 1.5


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker says of itself."""

    name: str
    #: Engine families it serves, e.g. ``onnx``.
    pools: list[str]
    #: Concrete engines this machine can run, e.g. ``torch-bf16``.
    engines: list[str]
    threads: int
    trains: bool
    host: str
    pid: int
    #: Loaded versions, e.g. ``reviews@3 onnx-int8``.
    loaded: list[str] = field(default_factory=list)
    #: Sentences about engines that fell back or failed their self-test.
    warnings: list[str] = field(default_factory=list)
    #: Tokens of all texts scored since it started, and of their batches with padding.
    tokens: int = 0
    padded_tokens: int = 0

    @property
    def padding_waste(self) -> float | None:
        """Share of the tokens computed that were padding; None before the first."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else None

    @classmethod
    def read(cls, life: bytes) -> WorkerInfo:
        """What `announce` wrote, by whatever release: fields unknown here are left out."""
        said: dict[str, Any] = json.loads(life)
        known = {part.name for part in fields(cls)}
        return cls(**{name: value for name, value in said.items() if name in known})


def announce(client: redis.Redis, info: WorkerInfo, keys: Keys) -> None:
    """Says that the worker lives, for LIFE_MS."""
    pipe = client.pipeline(transaction=False)
    pipe.set(keys.worker(info.name), json.dumps(asdict(info)), px=LIFE_MS)
    pipe.sadd(keys.workers(), info.name)
    pipe.execute()


def leave(client: redis.Redis, name: str, keys: Keys) -> None:
    """Says that the worker ends."""
    pipe = client.pipeline(transaction=False)
    pipe.unlink(keys.worker(name))
    pipe.srem(keys.workers(), name)
    pipe.execute()


def dead(client: redis.Redis, keys: Keys) -> list[str]:
    """Names of workers that ended without saying so."""
    typed: Any = client
    names = sorted(typed.smembers(keys.workers()))
    if not names:
        return []
    lives = typed.mget([keys.worker(name.decode()) for name in names])
    return [name.decode() for name, life in zip(names, lives, strict=True) if life is None]


def bury(client: redis.Redis, names: Iterable[str], keys: Keys) -> None:
    """Forgets dead workers whose work was taken over."""
    for name in names:
        client.srem(keys.workers(), name)


async def living(client: redis.asyncio.Redis, keys: Keys) -> list[WorkerInfo]:
    """Workers that live now, by name."""
    typed: Any = client
    names = sorted(await typed.smembers(keys.workers()))
    if not names:
        return []
    lives = await typed.mget([keys.worker(name.decode()) for name in names])
    return [WorkerInfo.read(life) for life in lives if life is not None]
