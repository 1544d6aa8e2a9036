"""Aliases: the mutable pointers from a model's name to its immutable versions.

`AliasStore` is the server's side (async); `point` is what a worker does with a new version.

Field names that start with ":" are ours; the grammar of aliases cannot produce them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio

from labelmill.errors import EtagMismatchError
from labelmill.queue import scripts
from labelmill.queue.keys import Keys


@dataclass(frozen=True)
class AliasTable:
    """All aliases of one model at one moment."""

    versions: dict[str, int]
    etag: str
    #: What each moved alias pointed at before.
    previous: dict[str, int]


class AliasStore:
    """Aliases of every model."""

    def __init__(self, client: redis.asyncio.Redis, *, shard: int = 0) -> None:
        # redis-py's annotations cannot tell bytes from str.
        self._redis: Any = client
        self._keys = Keys(shard)
        self._set = client.register_script(scripts.source("set_alias"))

    async def read(self, model: str) -> AliasTable:
        """The aliases of `model`; empty with etag ``0`` when none was ever set."""
        fields = await self._redis.hgetall(self._keys.aliases(model))
        rows = {name.decode(): value.decode() for name, value in fields.items()}
        etag = rows.pop(":etag", "0")
        previous = {
            name.removeprefix(":previous:"): int(rows.pop(name))
            for name in list(rows)
            if name.startswith(":previous:")
        }
        return AliasTable({name: int(version) for name, version in rows.items()}, etag, previous)

    async def set(self, model: str, alias: str, version: int, *, etag: str = "") -> None:
        """Points `alias` at `version`; raises EtagMismatchError when `etag` is out of date."""
        done = await self._set(keys=[self._keys.aliases(model)], args=[alias, version, etag])
        if not done:
            raise EtagMismatchError(
                f"etag: the aliases of {model!r} changed since {etag!r} was read; read the model "
                "again and retry"
            )


def point(client: redis.Redis, model: str, alias: str, version: int, *, shard: int = 0) -> None:
    """Points `alias` at `version`, wherever it was."""
    script = client.register_script(scripts.source("set_alias"))
    script(keys=[Keys(shard).aliases(model)], args=[alias, version, ""])
