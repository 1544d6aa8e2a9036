"""Whether the parts of a stack are ready: Valkey or Redis, the server, the workers."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis.exceptions import RedisError

from labelmill.queue.connection import connect, connect_async
from labelmill.queue.keys import Keys
from labelmill.queue.presence import WorkerInfo, living

#: Seconds that one look at the server may take.
_LOOK_S = 1.0


def server_is_ready(address: str) -> bool:
    """Whether the server answers that it serves."""
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_LOOK_S)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def living_workers(redis_url: str) -> list[WorkerInfo]:
    """Workers that live now; raises RedisError."""

    async def look() -> list[WorkerInfo]:
        async with connect_async(redis_url) as client:
            return await living(client, Keys())

    return asyncio.run(look())


def answers(redis_url: str) -> bool:
    """Whether a Redis answers there."""
    try:
        with connect(redis_url) as client:
            return bool(client.ping())
    except redis.exceptions.BusyLoadingError:
        return True
    except RedisError:
        return False


def redis_version(redis_url: str) -> str:
    """E.g. ``Valkey 9.1.2``; raises RedisError."""
    with connect(redis_url) as client:
        info: Any = client.info("server")
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"
