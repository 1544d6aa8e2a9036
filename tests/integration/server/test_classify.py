from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from servers import PATIENCE_S, Refusal, ServerProcess, StandIn, refusal

from labelmill.queue.keys import Keys
from labelmill.queue.presence import WorkerInfo, announce
from labelmill.registry import Description, Registry
from labelmill.v1.classification_pb2 import (
    ClassifyRequest,
    ClassifyResponse,
    ScoringOptions,
    StreamClassifyRequest,
)
from labelmill.v1.classification_pb2_grpc import ClassificationServiceStub
from labelmill.v1.models_pb2 import SetModelAliasRequest
from labelmill.v1.models_pb2_grpc import ModelServiceStub

Refused = Callable[..., Refusal]


def ask(*texts: str, model: str = "reviews", engine: str = "", **options: Any) -> ClassifyRequest:
    return ClassifyRequest(
        model=model, texts=texts, engine=engine, options=ScoringOptions(**options)
    )


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.005)


def test_answers_come_in_input_order(
    classification: ClassificationServiceStub, worker: StandIn
) -> None:
    texts = [f"{'good' if number % 3 else 'dull'} {number}" for number in range(256)]
    response = classification.Classify(ask(*texts), timeout=20)

    assert [row.label for row in response.results] == [
        "good" if number % 3 else "bad" for number in range(256)
    ]
    assert (response.model, response.model_version, response.engine) == ("reviews", 2, "onnx-int8")


def test_many_calls_at_once_each_get_their_own_answer(
    classification: ClassificationServiceStub, worker: StandIn
) -> None:
    calls = [
        classification.Classify.future(ask("good" if number % 2 else "dull"), timeout=20)
        for number in range(500)
    ]
    labels = [call.result().results[0].label for call in calls]
    assert labels == ["good" if number % 2 else "bad" for number in range(500)]


@pytest.mark.parametrize(
    ("model", "version"), [("reviews", 2), ("reviews@1", 1), ("reviews@default", 2)]
)
def test_a_name_without_an_alias_set_means_the_latest_version(
    classification: ClassificationServiceStub, worker: StandIn, model: str, version: int
) -> None:
    response = classification.Classify(ask("good", model=model), timeout=20)
    assert response.model_version == version


def test_an_alias_that_moves_is_followed_at_once(
    classification: ClassificationServiceStub, models: ModelServiceStub, worker: StandIn
) -> None:
    for version in (1, 2, 1):
        models.SetModelAlias(
            SetModelAliasRequest(model="reviews", alias="default", version=version), timeout=20
        )
        assert classification.Classify(ask("good"), timeout=20).model_version == version


@pytest.mark.parametrize(
    ("request_", "fields", "words"),
    [
        (ask(), {"texts"}, "1 to 256"),
        (ask(*["good"] * 257), {"texts"}, "257"),
        (ask("good", "", "good"), {"texts[1]"}, "empty or blank"),
        (ask("good", " \n\t"), {"texts[1]"}, "empty or blank"),
        (ask("", "good", ""), {"texts[0]", "texts[2]"}, "empty or blank"),
        (ask("good", "x" * (1 << 20) + "y"), {"texts[1]"}, "1048577 bytes"),
        (ask("good", "é" * (1 << 19) + "y"), {"texts[1]"}, "1048577 bytes"),
        (ask("good", model=""), {"model"}, "name a model"),
        (ask("good", model="Re views"), {"model"}, "lower-case"),
        (ask("good", model="reviews@2x"), {"model"}, "no alias"),
        (ask("good", engine="gpu"), {"engine"}, "onnx-int8"),
        (ask("good", top_k=-1), {"options.top_k"}, "positive"),
        (ask("good", threshold=1.5), {"options.threshold"}, "0 to 1"),
        (ask("good", threshold=float("nan")), {"options.threshold"}, "0 to 1"),
        (ask("good", long_text_policy=9), {"options.long_text_policy"}, "TRUNCATE"),
        (ask("good", top_k=-1, threshold=-1), {"options.top_k", "options.threshold"}, "use 0"),
    ],
)
def test_bad_input_names_the_field(
    classification: ClassificationServiceStub,
    refused: Refused,
    request_: ClassifyRequest,
    fields: set[str],
    words: str,
) -> None:
    status = refused(classification.Classify, request_)
    assert (status.code, status.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert set(status.fields) == fields
    assert words in status.message


def test_the_longest_text_allowed_is_taken(
    classification: ClassificationServiceStub, worker: StandIn
) -> None:
    response = classification.Classify(ask("x" * (1 << 20)), timeout=20)
    assert response.results[0].label == "bad"


def test_text_that_is_not_utf8_is_a_bad_request(channel: grpc.Channel, refused: Refused) -> None:
    classify = channel.unary_unary(
        "/labelmill.v1.ClassificationService/Classify",
        request_serializer=lambda raw: raw,
        response_deserializer=ClassifyResponse.FromString,
    )
    status = refused(classify, b"\x0a\x07reviews\x12\x02\xff\xfe")
    assert (status.code, status.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert "UTF-8" in status.message


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nothing", "plain, reviews"),
        ("reviews@canary", "aliases are none yet, its versions 1, 2"),
        ("reviews@7", "has no version 7; it has 1, 2"),
    ],
)
def test_an_unknown_model_is_told_what_exists(
    classification: ClassificationServiceStub, refused: Refused, model: str, words: str
) -> None:
    status = refused(classification.Classify, ask("good", model=model))
    assert (status.code, status.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert words in status.message


@pytest.mark.parametrize("engine", ["onnx-int8", "torch", "openvino"])
def test_an_engine_the_version_lacks_is_refused(
    classification: ClassificationServiceStub, refused: Refused, worker: StandIn, engine: str
) -> None:
    status = refused(classification.Classify, ask("good", model="plain", engine=engine))
    assert (status.code, status.reason) == ("FAILED_PRECONDITION", "ENGINE_UNAVAILABLE")
    assert "it has onnx-fp32" in status.message


def test_an_engine_no_machine_here_can_run_is_refused(
    classification: ClassificationServiceStub, refused: Refused, worker: StandIn
) -> None:
    status = refused(classification.Classify, ask("good", engine="onnx-fp32"))
    assert (status.code, status.reason) == ("FAILED_PRECONDITION", "ENGINE_UNAVAILABLE")


def test_torch_means_what_the_living_workers_run(
    classification: ClassificationServiceStub, redis_url: str
) -> None:
    stand_in = StandIn(redis_url, engines=("torch-fp32",)).start()
    try:
        response = classification.Classify(ask("good", engine="torch"), timeout=20)
    finally:
        stand_in.stop()
    assert response.engine == "torch-fp32"


def test_without_a_worker_the_call_fails_at_once(
    classification: ClassificationServiceStub, refused: Refused
) -> None:
    status = refused(classification.Classify, ask("good"))
    assert (status.code, status.reason) == ("UNAVAILABLE", "NO_WORKER")
    assert "labelmill worker" in status.message
    assert status.retry_s == 1


def test_a_sliding_window_is_not_implemented_yet(
    classification: ClassificationServiceStub, refused: Refused
) -> None:
    status = refused(classification.Classify, ask("good", long_text_policy=3))
    assert (status.code, status.reason) == ("UNIMPLEMENTED", "UNIMPLEMENTED")
    assert "TRUNCATE or REJECT" in status.message


def test_an_error_of_the_worker_keeps_its_class(
    classification: ClassificationServiceStub, refused: Refused, worker: StandIn
) -> None:
    status = refused(classification.Classify, ask("boom"))
    assert (status.code, status.reason) == ("FAILED_PRECONDITION", "ENGINE_UNAVAILABLE")
    assert status.message == "this machine cannot"


def test_a_deadline_that_passes_withdraws_the_request(
    classification: ClassificationServiceStub, worker: StandIn, redis_url: str
) -> None:
    worker.held.set()
    with pytest.raises(grpc.RpcError) as caught:
        classification.Classify(ask("good"), timeout=0.3)
    assert refusal(caught.value).code == "DEADLINE_EXCEEDED"
    with redis.Redis.from_url(redis_url) as raw:
        eventually(lambda: not raw.keys("*req-online*"))


def test_a_cancelled_call_is_withdrawn_from_the_queue(
    classification: ClassificationServiceStub, worker: StandIn, redis_url: str
) -> None:
    worker.held.set()
    call = classification.Classify.future(ask("good"), timeout=60)
    eventually(lambda: bool(worker.taken))
    with redis.Redis.from_url(redis_url) as raw:
        key = Keys().online_request(worker.taken[0].request.id)
        assert raw.exists(key)
        call.cancel()
        eventually(lambda: not raw.exists(key))


def test_the_deadline_travels_with_the_request(
    classification: ClassificationServiceStub, worker: StandIn
) -> None:
    now_ms = time.time() * 1000
    classification.Classify(ask("good"), timeout=7)
    classification.Classify(ask("good"))
    given, default = (ticket.request.deadline_ms for ticket in worker.taken)
    assert now_ms + 6_000 < given < now_ms + 8_500
    assert now_ms + 29_000 < default < now_ms + 40_000


def test_calls_over_the_bound_are_refused_with_a_time_to_retry(
    own_server: Callable[..., ServerProcess], registry: Registry, redis_url: str, worker: StandIn
) -> None:
    server = own_server(redis_url, registry.root, "--max-online-requests", "2").ready()
    worker.held.set()
    with server.channel() as channel:
        stub = ClassificationServiceStub(channel)
        under_way = [stub.Classify.future(ask("good"), timeout=60) for _ in range(2)]
        eventually(lambda: len(worker.taken) == 2)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Classify(ask("good"), timeout=20)
        worker.held.clear()
        assert [call.result().results[0].label for call in under_way] == ["good", "good"]
    status = refusal(caught.value)
    assert (status.code, status.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
    assert status.retry_s
    assert status.quota == "server:max_online_requests"


def test_calls_over_the_bound_of_the_queue_are_refused(
    own_server: Callable[..., ServerProcess], registry: Registry, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        busy = WorkerInfo("busy", ["torch"], ["torch-fp32"], 1, False, "h", 1)
        announce(raw, busy, Keys())
        for number in range(2):
            raw.xadd(Keys().online("torch"), {"r": f"waiting-{number}"})
        server = own_server(redis_url, registry.root, "--max-queued-requests", "2").ready()
        with server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
            ClassificationServiceStub(channel).Classify(ask("good", engine="torch"), timeout=20)
    status = refusal(caught.value)
    assert (status.code, status.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
    assert status.retry_s
    assert status.quota == "pool:torch"


class Feed:
    """A request stream that is written to step by step."""

    def __init__(self) -> None:
        self._items: list[StreamClassifyRequest | None] = []
        self._more = threading.Condition()

    def send(self, item: StreamClassifyRequest | None) -> None:
        with self._more:
            self._items.append(item)
            self._more.notify()

    def __iter__(self) -> Iterator[StreamClassifyRequest]:
        while True:
            with self._more:
                self._more.wait_for(lambda: bool(self._items))
                item = self._items.pop(0)
            if item is None:
                return
            yield item


def test_a_stream_answers_each_request_by_its_id(
    classification: ClassificationServiceStub, worker: StandIn
) -> None:
    requests = [
        StreamClassifyRequest(
            correlation_id=str(number), request=ask("good" if number % 2 else "dull")
        )
        for number in range(300)
    ]
    requests[7].request.texts[0] = " "
    requests[8].request.model = "nothing"
    answers = {a.correlation_id: a for a in classification.StreamClassify(iter(requests))}

    assert len(answers) == 300
    assert answers["7"].error.reason == "INVALID_ARGUMENT"
    assert "texts[0]" in answers["7"].error.message
    assert answers["8"].error.reason == "MODEL_NOT_FOUND"
    for number in {*range(300)} - {7, 8}:
        label = answers[str(number)].response.results[0].label
        assert label == ("good" if number % 2 else "bad")


def test_a_stream_answers_while_it_is_open(
    classification: ClassificationServiceStub, worker: StandIn
) -> None:
    feed = Feed()
    answers = classification.StreamClassify(iter(feed), timeout=40)
    for number in range(3):
        feed.send(StreamClassifyRequest(correlation_id=f"c{number}", request=ask("good")))
        assert next(answers).correlation_id == f"c{number}"
    feed.send(None)
    assert list(answers) == []


def test_a_stream_refuses_an_id_twice_under_way_and_keeps_its_timeout(
    classification: ClassificationServiceStub, worker: StandIn
) -> None:
    worker.held.set()
    feed = Feed()
    answers = classification.StreamClassify(iter(feed), timeout=40)
    slow = StreamClassifyRequest(correlation_id="a", request=ask("good"))
    slow.timeout.FromMilliseconds(500)
    feed.send(slow)
    feed.send(StreamClassifyRequest(correlation_id="a", request=ask("good")))
    twice = next(answers)
    assert (twice.correlation_id, twice.error.reason) == ("a", "INVALID_ARGUMENT")
    late = next(answers)
    assert (late.correlation_id, late.error.reason) == ("a", "DEADLINE_EXCEEDED")
    feed.send(None)
    assert list(answers) == []


def test_a_text_is_never_logged(
    classification: ClassificationServiceStub, server: ServerProcess, worker: StandIn
) -> None:
    secret = "my good account number is 4711-0815"
    call = classification.Classify.with_call(
        ask(secret), timeout=20, metadata=[("labelmill-request-id", "trace-me")]
    )
    with pytest.raises(grpc.RpcError):
        classification.Classify(ask(secret, ""), timeout=20)
    assert ("labelmill-request-id", "trace-me") in [(k, v) for k, v in call[1].trailing_metadata()]
    eventually(lambda: '"request_id": "trace-me"' in server.output())
    assert "account number" not in server.output()


def test_a_version_whose_files_are_damaged_is_not_served(
    classification: ClassificationServiceStub, registry: Registry, refused: Refused, worker: StandIn
) -> None:
    folder = publish_damaged(registry)
    status = refused(classification.Classify, ask("good", model="damaged"))
    assert (status.code, status.reason) == ("DATA_LOSS", "ARTIFACT_CORRUPT")
    assert status.metadata["artifact"] == "model.int8.onnx"
    assert folder.is_dir()


def publish_damaged(registry: Registry) -> Path:
    with registry.stage("damaged") as staging:
        for name in ("model.int8.onnx", "model.fp32.onnx"):
            (staging.path / name).write_bytes(b"weights")
        manifest = registry.manifest("reviews", 1)
        given = manifest.model_dump(
            exclude={"schema_version", "model", "version", "created_at", "artifacts"}
        )
        staging.publish(Description(**given))
    folder = registry.path("damaged", 1)
    (folder / "model.int8.onnx").unlink()
    return folder
