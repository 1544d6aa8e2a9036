from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from servers import PATIENCE_S, ServerProcess, StandIn, refusal

from labelmill.queue.embedded import EmbeddedServer
from labelmill.queue.keys import Keys
from labelmill.queue.presence import WorkerInfo, announce
from labelmill.registry import Registry
from labelmill.v1.classification_pb2 import ClassifyRequest, StreamClassifyRequest
from labelmill.v1.classification_pb2_grpc import ClassificationServiceStub
from labelmill.v1.scoring_pb2 import CreateScoringJobRequest, WatchScoringJobRequest
from labelmill.v1.scoring_pb2_grpc import ScoringJobServiceStub

Start = Callable[..., ServerProcess]

ASK = ClassifyRequest(model="reviews", texts=["good"])


def taken(worker: StandIn, count: int = 1) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(worker.taken) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_server_loads_no_ml_library() -> None:
    code = "import sys, labelmill.server.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    heavy = {"torch", "transformers", "onnxruntime", "tokenizers", "numpy", "pyarrow"}
    assert not heavy & set(loaded.decode().split())


def test_two_servers_on_a_port_are_told_apart(
    own_server: Start, registry: Registry, redis_url: str
) -> None:
    first = own_server(redis_url, registry.root).ready()
    second = own_server(redis_url, registry.root, "--address", first.address)
    assert second.wait() == 1
    assert f"cannot listen on {first.address}" in second.output()
    assert "--address" in second.output()
    assert "Traceback" not in second.output()


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (("--address", "nowhere"), "address: 'nowhere' is no address", 1),
        (("--redis-url", "http://x"), "redis_url", 1),
        (("--drain-s", "soon"), "drain_s: is 'soon'", 2),
        (("--metrics-port", "-1"), "metrics_port: is '-1'", 2),
        (("--log-level", "LOUD"), "log_level: is 'LOUD'; use one of DEBUG", 2),
    ],
)
def test_a_wrong_option_is_named(
    own_server: Start,
    registry: Registry,
    redis_url: str,
    options: tuple[str, ...],
    words: str,
    code: int,
) -> None:
    server = own_server(redis_url, registry.root, *options)
    assert server.wait() == code
    assert words in server.output()
    assert "Traceback" not in server.output()


def test_without_redis_a_server_says_so(
    own_server: Start, registry: Registry, free_port: Callable[[], int]
) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    server = own_server(url, registry.root)
    assert server.wait() == 1
    assert "does not answer" in server.output()
    assert "--redis-url" in server.output()
    assert "secret" not in server.output()
    assert "Traceback" not in server.output()


def test_a_server_waits_a_moment_for_redis(
    own_server: Start, registry: Registry, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    server = own_server(f"redis://127.0.0.1:{port}/0", registry.root)
    with EmbeddedServer(tmp_path / "v", port=port):
        server.ready()
        server.terminate()
        assert server.wait() == 0


def test_a_redis_that_evicts_is_refused(
    own_server: Start, registry: Registry, tmp_path: Path
) -> None:
    options = {"maxmemory-policy": "allkeys-lru"}
    with EmbeddedServer(tmp_path / "v", options=options) as valkey:
        server = own_server(valkey.url, registry.root)
        assert server.wait() == 1
    assert "CONFIG SET maxmemory-policy noeviction" in server.output()
    assert "Traceback" not in server.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_call_under_way_is_finished_before_the_server_ends(
    own_server: Start, registry: Registry, redis_url: str, worker: StandIn, number: signal.Signals
) -> None:
    server = own_server(redis_url, registry.root).ready()
    worker.held.set()
    with server.channel() as channel, server.channel() as other:
        watch = HealthStub(other).Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        call = ClassificationServiceStub(channel).Classify.future(ASK, timeout=PATIENCE_S)
        taken(worker)
        server.process.send_signal(number)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not call.done()
        worker.held.clear()
        assert call.result().results[0].label == "good"
    started = time.monotonic()
    assert server.wait() == 0
    # The health watch does not hold the server for its twenty seconds.
    assert time.monotonic() - started < 10


def test_new_calls_are_refused_while_draining(
    own_server: Start, registry: Registry, redis_url: str, worker: StandIn
) -> None:
    server = own_server(redis_url, registry.root).ready()
    worker.held.set()
    with server.channel() as channel:
        stub = ClassificationServiceStub(channel)
        call = stub.Classify.future(ASK, timeout=PATIENCE_S)
        taken(worker)
        server.terminate()
        code = "DEADLINE_EXCEEDED"
        deadline = time.monotonic() + 10
        # Taken before the signal arrived: the worker does not answer.
        while code == "DEADLINE_EXCEEDED":
            assert time.monotonic() < deadline
            with pytest.raises(grpc.RpcError) as caught:
                stub.Classify(ASK, timeout=0.2)
            code = refusal(caught.value).code
        # gRPC cancels what arrives in the very moment of its shutdown.
        assert code in ("UNAVAILABLE", "CANCELLED")
        assert not call.done()
        worker.held.clear()
        assert call.result().results[0].label == "good"
    assert server.wait() == 0


def test_a_call_longer_than_the_drain_is_broken_off(
    own_server: Start, registry: Registry, redis_url: str, worker: StandIn
) -> None:
    server = own_server(redis_url, registry.root, "--drain-s", "0.3").ready()
    worker.held.set()
    with server.channel() as channel:
        call = ClassificationServiceStub(channel).Classify.future(ASK, timeout=PATIENCE_S)
        taken(worker)
        server.terminate()
        error = call.exception(PATIENCE_S)
    assert error is not None
    assert refusal(error).code == "UNAVAILABLE"
    assert server.wait() == 0


def test_streams_that_follow_a_job_are_sent_elsewhere(
    own_server: Start, registry: Registry, redis_url: str, worker: StandIn
) -> None:
    server = own_server(redis_url, registry.root).ready()
    with server.channel() as channel:
        scoring = ScoringJobServiceStub(channel)
        request = CreateScoringJobRequest(model="reviews", upload_pending=True)
        job = scoring.CreateScoringJob(request, timeout=20).job.id
        watch = scoring.WatchScoringJob(WatchScoringJobRequest(job_id=job), timeout=PATIENCE_S)
        next(watch)
        ended = threading.Event()

        def held_open() -> Iterator[StreamClassifyRequest]:
            yield StreamClassifyRequest(correlation_id="a", request=ASK)
            ended.wait(PATIENCE_S)

        answers = ClassificationServiceStub(channel).StreamClassify(held_open(), timeout=PATIENCE_S)
        assert next(answers).correlation_id == "a"
        started = time.monotonic()
        server.terminate()
        statuses = []
        for stream in (watch, answers):
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            statuses.append(refusal(caught.value))
        ended.set()
    for status in statuses:
        assert (status.code, status.reason) == ("UNAVAILABLE", "SERVER_UNAVAILABLE")
    assert server.wait() == 0
    assert time.monotonic() - started < 10


def test_metrics_count_calls_by_method_and_code(
    own_server: Start,
    registry: Registry,
    redis_url: str,
    worker: StandIn,
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    with redis.Redis.from_url(redis_url) as raw:
        said = WorkerInfo("busy", [], [], 1, False, "h", 1, tokens=300, padded_tokens=320)
        announce(raw, said, Keys())
    server = own_server(redis_url, registry.root, "--metrics-port", str(port)).ready()
    with server.channel() as channel:
        stub = ClassificationServiceStub(channel)
        stub.Classify(ASK, timeout=20)
        with pytest.raises(grpc.RpcError):
            stub.Classify(ClassifyRequest(model="reviews"), timeout=20)
    method = 'method="/labelmill.v1.ClassificationService/Classify"'
    wanted = [
        f'labelmill_server_calls_total{{code="OK",{method}}} 1.0',
        f'labelmill_server_calls_total{{code="INVALID_ARGUMENT",{method}}} 1.0',
        f"labelmill_server_call_seconds_count{{{method}}} 2.0",
        f"labelmill_server_active_calls{{{method}}} 0.0",
        'labelmill_worker_tokens_total{worker="busy"} 300.0',
        'labelmill_worker_padded_tokens_total{worker="busy"} 320.0',
    ]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            text = page.read().decode()
        if all(line in text for line in wanted):
            break
        assert time.monotonic() < deadline, text

    second = own_server(redis_url, registry.root, "--metrics-port", str(port))
    assert second.wait() == 1
    assert "--metrics-port" in second.output()


def classify_until(stub: ClassificationServiceStub, wanted: str) -> float:
    """Calls until the outcome is `wanted`; the longest call's seconds."""
    longest = 0.0
    deadline = time.monotonic() + PATIENCE_S
    while True:
        started = time.monotonic()
        try:
            stub.Classify(ASK, timeout=PATIENCE_S)
            outcome = "OK"
        except grpc.RpcError as error:
            outcome = refusal(error).reason
        longest = max(longest, time.monotonic() - started)
        if outcome == wanted:
            return longest
        assert time.monotonic() < deadline, f"still {outcome}, not {wanted}"
        time.sleep(0.01)


def test_a_redis_that_dies_is_noticed_fast_and_found_again(
    own_server: Start, registry: Registry, tmp_path: Path
) -> None:
    valkey = EmbeddedServer(tmp_path / "v").start()
    worker = StandIn(valkey.url).start()
    try:
        server = own_server(valkey.url, registry.root).ready()
        with server.channel() as channel:
            stub = ClassificationServiceStub(channel)
            classify_until(stub, "OK")
            worker.held.set()
            under_way = stub.Classify.future(ASK, timeout=PATIENCE_S)
            taken(worker, 2)
            valkey.kill()
            error = under_way.exception(10)
            assert error is not None
            assert refusal(error).reason == "QUEUE_UNAVAILABLE"
            assert classify_until(stub, "QUEUE_UNAVAILABLE") < 3
            with pytest.raises(grpc.RpcError) as caught:
                stub.Classify(ASK, timeout=PATIENCE_S)
            status = refusal(caught.value)
            assert (status.code, status.retry_s) == ("UNAVAILABLE", 1)
            valkey.start()
            worker.held.clear()
            classify_until(stub, "OK")
        server.terminate()
        assert server.wait() == 0
    finally:
        worker.held.clear()
        worker.stop()
        valkey.stop()


def test_a_redis_that_hangs_does_not_hang_the_server(
    own_server: Start, registry: Registry, tmp_path: Path
) -> None:
    valkey = EmbeddedServer(tmp_path / "v").start()
    try:
        server = own_server(valkey.url, registry.root).ready()
        with server.channel() as channel:
            stub = ScoringJobServiceStub(channel)
            request = CreateScoringJobRequest(model="reviews", upload_pending=True)
            job = stub.CreateScoringJob(request, timeout=20).job.id
            watch = stub.WatchScoringJob(WatchScoringJobRequest(job_id=job), timeout=PATIENCE_S)
            next(watch)
            assert valkey.pid is not None
            os.kill(valkey.pid, signal.SIGSTOP)
            states = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
            while next(states).status == health_pb2.HealthCheckResponse.SERVING:
                pass
            started = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                stub.CreateScoringJob(request, timeout=20)
            assert time.monotonic() - started < 1
            assert refusal(caught.value).reason == "QUEUE_UNAVAILABLE"
            with pytest.raises(grpc.RpcError) as caught:
                next(watch)
            assert refusal(caught.value).reason == "QUEUE_UNAVAILABLE"
            os.kill(valkey.pid, signal.SIGCONT)
            while next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING:
                pass
            stub.CreateScoringJob(request, timeout=20)
    finally:
        valkey.kill()


def test_a_restarted_redis_keeps_jobs(
    own_server: Start, registry: Registry, tmp_path: Path
) -> None:
    valkey = EmbeddedServer(tmp_path / "v").start()
    try:
        server = own_server(valkey.url, registry.root).ready()
        with server.channel() as channel:
            stub = ScoringJobServiceStub(channel)
            request = CreateScoringJobRequest(model="reviews", upload_pending=True)
            job = stub.CreateScoringJob(request, timeout=20).job.id
            watch = stub.WatchScoringJob(WatchScoringJobRequest(job_id=job), timeout=PATIENCE_S)
            next(watch)
            valkey.kill()
            with pytest.raises(grpc.RpcError) as caught:
                next(watch)
            assert refusal(caught.value).reason == "QUEUE_UNAVAILABLE"
            valkey.start()
            states = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
            while next(states).status != health_pb2.HealthCheckResponse.SERVING:
                pass
            again = stub.WatchScoringJob(WatchScoringJobRequest(job_id=job), timeout=PATIENCE_S)
            assert next(again).job.id == job
    finally:
        valkey.stop()


def test_an_emptied_redis_costs_no_restart(
    own_server: Start, registry: Registry, redis_url: str, worker: StandIn
) -> None:
    server = own_server(redis_url, registry.root).ready()
    with server.channel() as channel:
        stub = ClassificationServiceStub(channel)
        classify_until(stub, "OK")
        with redis.Redis.from_url(redis_url) as raw:
            raw.flushall()
            raw.script_flush()
        classify_until(stub, "OK")
