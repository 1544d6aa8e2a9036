"""Waiting until acknowledged work is on disk."""

from __future__ import annotations

import redis.asyncio
from redis.exceptions import ResponseError

from labelmill.errors import QueueUnavailableError

#: How long to wait for the append-only file; everysec syncs once a second.
_TIMEOUT_MS = 5000

#: Answers of servers that cannot say: before 7.2, or without an append-only file.
_CANNOT_SAY = ("unknown command", "appendonly is disabled")


async def wait(client: redis.asyncio.Redis) -> None:
    """Returns once all writes this server knows of are in the local append-only file.

    WAITAOF counts the writes of its own connection, so a marker is written first on the same one:
    the file is in order, and what was written before the marker is on disk when the marker is.

    Raises:
        QueueUnavailableError: the server did not sync in time.
    """
    pipe = client.pipeline(transaction=False)
    pipe.set("lm:{q0}:durable", "1")
    pipe.execute_command("WAITAOF", 1, 0, _TIMEOUT_MS)
    _, answer = await pipe.execute(raise_on_error=False)
    if isinstance(answer, ResponseError):
        if not any(words in str(answer) for words in _CANNOT_SAY):
            raise answer
    elif isinstance(answer, Exception):
        raise answer
    elif not answer[0]:
        raise QueueUnavailableError(
            f"Redis did not get the work to disk within {_TIMEOUT_MS // 1000} s; its disk is slow "
            "or full, or appendfsync is set to no: use everysec"
        )
