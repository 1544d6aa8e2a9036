"""One server process for the whole run; it keeps nothing, so tests only empty its Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from servers import Refusal, ServerProcess, StandIn, refusal

from labelmill.queue.embedded import EmbeddedServer
from labelmill.registry import Description, Registry
from labelmill.v1.classification_pb2_grpc import ClassificationServiceStub
from labelmill.v1.models_pb2_grpc import ModelServiceStub
from labelmill.v1.scoring_pb2_grpc import ScoringJobServiceStub
from labelmill.v1.training_pb2_grpc import TrainingServiceStub


def publish(registry: Registry, model: str, *engines: str, torch: bool = False) -> int:
    """Registers a version whose files no engine could read."""
    with registry.stage(model) as staging:
        for engine in engines:
            kind = engine.partition("-")[2]
            (staging.path / f"model.{kind}.onnx").write_bytes(b"not read here")
        (staging.path / "report.json").write_text('{"seconds": 1}')
        if torch:
            (staging.path / "torch").mkdir()
            (staging.path / "torch" / "model.safetensors").write_bytes(b"weights")
        manifest = staging.publish(
            Description(
                base_model="minilm",
                architecture="bert",
                labels=["bad", "good"],
                max_length=128,
                pad_token_id=0,
                threshold=0.5,
                engines=list(engines),
                metrics={"int8.accuracy": 0.9},
            )
        )
    return manifest.version


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """reviews has versions 1 and 2 with INT8; plain has fp32 only."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    publish(registry, "reviews", "onnx-int8", "onnx-fp32", torch=True)
    publish(registry, "reviews", "onnx-int8", "onnx-fp32", torch=True)
    publish(registry, "plain", "onnx-fp32")
    return registry


@pytest.fixture(scope="session")
def server(
    valkey: EmbeddedServer, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """The server that most tests talk to."""
    log = tmp_path_factory.mktemp("server") / "log"
    server = ServerProcess(valkey.url, registry.root, log, "--log-level", "DEBUG")
    yield server.ready()
    server.terminate()
    code = server.wait()
    assert code == 0
    for words in ("Traceback", "defect", "never retrieved", "was never awaited"):
        assert words not in server.output()


@pytest.fixture
def channel(server: ServerProcess, redis_url: str) -> Iterator[grpc.Channel]:
    """A connection to a server with an empty Redis."""
    with server.channel() as channel:
        yield channel


@pytest.fixture
def worker(redis_url: str) -> Iterator[StandIn]:
    """Answers everything."""
    stand_in = StandIn(redis_url).start()
    yield stand_in
    stand_in.held.clear()
    stand_in.stop()


@pytest.fixture
def classification(channel: grpc.Channel) -> ClassificationServiceStub:
    return ClassificationServiceStub(channel)


@pytest.fixture
def scoring(channel: grpc.Channel) -> ScoringJobServiceStub:
    return ScoringJobServiceStub(channel)


@pytest.fixture
def training(channel: grpc.Channel) -> TrainingServiceStub:
    return TrainingServiceStub(channel)


@pytest.fixture
def models(channel: grpc.Channel) -> ModelServiceStub:
    return ModelServiceStub(channel)


@pytest.fixture
def refused() -> Callable[..., Refusal]:
    """Makes a call that must fail, and reads its status."""

    def call(method: Callable[..., Any], request: Any, **kwargs: Any) -> Refusal:
        def send() -> Any:
            answer = method(request, timeout=20, **kwargs)
            # Streams fail when they are read.
            return list(answer) if isinstance(answer, Iterator) else answer

        with pytest.raises(grpc.RpcError) as caught:
            send()
        return refusal(caught.value)

    return call


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers that end with the test."""
    started: list[ServerProcess] = []

    def start(redis_url: str, registry: Path, *options: str) -> ServerProcess:
        log = tmp_path / f"server-{len(started)}.log"
        started.append(ServerProcess(redis_url, registry, log, *options))
        return started[-1]

    yield start
    for server in started:
        server.kill()
