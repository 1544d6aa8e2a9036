from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from servers import PATIENCE_S, ServerProcess, StandIn

from labelmill.queue.embedded import EmbeddedServer
from labelmill.registry import Registry

CLASSIFICATION = "labelmill.v1.ClassificationService"
SCORING = "labelmill.v1.ScoringJobService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def check(channel: grpc.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return HealthStub(channel).Check(request, timeout=20).status


def test_only_classify_needs_a_worker(channel: grpc.Channel, redis_url: str) -> None:
    request = health_pb2.HealthCheckRequest(service=CLASSIFICATION)
    watch = HealthStub(channel).Watch(request, timeout=PATIENCE_S)
    states = (answer.status for answer in watch)
    first = next(states)
    if first == SERVING:
        # The worker of the test before counts as living for a second more.
        assert next(states) == NOT_SERVING
    assert check(channel, SCORING) == SERVING
    assert check(channel, "") == SERVING

    worker = StandIn(redis_url).start()
    assert next(states) == SERVING
    worker.stop()
    assert next(states) == NOT_SERVING


def test_all_of_it_depends_on_redis(
    own_server: Callable[..., ServerProcess], registry: Registry, tmp_path: Path
) -> None:
    valkey = EmbeddedServer(Path(tmp_path / "v")).start()
    try:
        server = own_server(valkey.url, registry.root).ready()
        with server.channel() as channel:
            stub = HealthStub(channel)
            watches = [
                stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S)
                for service in ("", SCORING, "labelmill.v1.ModelService")
            ]
            assert [next(watch).status for watch in watches] == [SERVING] * 3
            valkey.kill()
            assert [next(watch).status for watch in watches] == [NOT_SERVING] * 3
            valkey.start()
            assert [next(watch).status for watch in watches] == [SERVING] * 3
    finally:
        valkey.stop()


def test_an_unknown_service_has_no_health(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        check(channel, "labelmill.v1.Nothing")
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def services(channel: grpc.Channel) -> set[str]:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), timeout=20)
    return {service.name for service in next(answers).list_services_response.service}


def test_reflection_names_the_services(channel: grpc.Channel) -> None:
    assert services(channel) >= {
        CLASSIFICATION,
        SCORING,
        "labelmill.v1.TrainingService",
        "labelmill.v1.ModelService",
        "grpc.health.v1.Health",
    }


def test_reflection_can_be_switched_off(
    own_server: Callable[..., ServerProcess], registry: Registry, redis_url: str
) -> None:
    server = own_server(redis_url, registry.root, "--no-reflection").ready()
    with server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        services(channel)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
