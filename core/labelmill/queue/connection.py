"""Connections to Redis or Valkey, and whether the server there is fit to hold accepted work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from labelmill.errors import InvalidArgumentError, QueueUnavailableError, QueueUnfitError

#: What Redis raises while it restarts, fails over or is away: try again, nothing is lost.
TRANSIENT: tuple[type[RedisError], ...] = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    BusyLoadingError,
    MasterDownError,
    ClusterDownError,
)

#: Oldest Redis with everything the scripts use, XPENDING IDLE among it: (major, minor).
OLDEST = (6, 2)

#: Seconds to wait for a connection.
_CONNECT_TIMEOUT_S = 2.0

#: Seconds to wait for an answer; longer than any blocking call made here.
_SOCKET_TIMEOUT_S = 15.0

#: Connections one worker may hold.
_MAX_CONNECTIONS = 512

#: Seconds that a server's call waits for one of its pool's connections.
_POOL_TIMEOUT_S = 5.0


def _options(answer_timeout_s: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "socket_timeout": answer_timeout_s,
        "health_check_interval": 30,
    }


def connect(url: str) -> redis.Redis:
    """A client for workers. It does not retry: a worker's loops do, and a lease must not double.

    Raises:
        InvalidArgumentError: `url` is none Redis understands.
    """
    try:
        return redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            max_connections=_MAX_CONNECTIONS,
            **_options(_SOCKET_TIMEOUT_S),
        )
    except ValueError as error:
        raise InvalidArgumentError.at("redis_url", str(error)) from error


def connect_async(
    url: str,
    *,
    connections: int = 128,
    retries: int = 3,
    answer_timeout_s: float = _SOCKET_TIMEOUT_S,
) -> redis.asyncio.Redis:
    """A client for servers. It retries a moment, as every script may be repeated, then fails fast.

    Args:
        url: redis://, rediss:// or unix://.
        connections: most that are open at once; further calls wait for one.
        retries: tries after the first. Only lost connections are tried again: a server that was
            silent for `answer_timeout_s` would be so again.
        answer_timeout_s: longest wait for an answer; longer than any blocking call made.

    Raises:
        InvalidArgumentError: `url` is none Redis understands.
    """
    retry = redis.asyncio.retry.Retry(
        ExponentialWithJitterBackoff(base=0.01, cap=0.1), retries, (RedisConnectionError,)
    )
    try:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=_POOL_TIMEOUT_S,
            retry=retry,
            **_options(answer_timeout_s),
        )
    except ValueError as error:
        raise InvalidArgumentError.at("redis_url", str(error)) from error
    return redis.asyncio.Redis.from_pool(pool)


def redacted(url: str) -> str:
    """`url` without its password, for messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def unavailable(url: str, error: RedisError) -> QueueUnavailableError:
    """The error to raise when Redis at `url` does not answer."""
    return QueueUnavailableError(
        f"Redis at {redacted(url)} does not answer ({error}); start it, or give --redis-url "
        "(`labelmill up` brings one of its own)",
        retry_after_s=1.0,
    )


def check_fitness(info: Mapping[str, Any], policy: str) -> None:
    """Refuses a server that would lose accepted work.

    Args:
        info: the answer of INFO.
        policy: the value of maxmemory-policy.

    Raises:
        QueueUnfitError: it is too old, or it evicts keys.
    """
    version = str(info.get("redis_version", "0.0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise QueueUnfitError(
            f"redis_version: Redis {version} is too old; labelmill needs "
            f"{OLDEST[0]}.{OLDEST[1]} or later, or any Valkey"
        )
    if policy != "noeviction":
        raise QueueUnfitError(
            f"maxmemory-policy: Redis is set to {policy}, which deletes accepted work when memory "
            "runs short; run `CONFIG SET maxmemory-policy noeviction` and put it into redis.conf"
        )


def policy_of(info: Mapping[str, Any]) -> str:
    """maxmemory-policy out of INFO, which managed Redis offers where CONFIG is forbidden."""
    return str(info.get("maxmemory_policy", "noeviction"))
