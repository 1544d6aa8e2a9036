from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from google.protobuf.timestamp_pb2 import Timestamp
from servers import PATIENCE_S, Refusal, ServerProcess, StandIn, refusal

from labelmill.client import Client
from labelmill.queue.connection import connect
from labelmill.queue.embedded import EmbeddedServer
from labelmill.queue.leases import Leases
from labelmill.registry import Registry
from labelmill.v1 import scoring_pb2 as pb
from labelmill.v1.classification_pb2 import ScoringOptions
from labelmill.v1.models_pb2 import SetModelAliasRequest
from labelmill.v1.models_pb2_grpc import ModelServiceStub
from labelmill.v1.scoring_pb2_grpc import ScoringJobServiceStub

Refused = Callable[..., Refusal]


def items(count: int, start: int = 0) -> list[pb.ScoringItem]:
    return [
        pb.ScoringItem(text=f"{'good' if i % 2 else 'dull'} {i}", id=f"id-{i}")
        for i in range(start, start + count)
    ]


def inline(count: int = 1, **kwargs: Any) -> pb.CreateScoringJobRequest:
    return pb.CreateScoringJobRequest(
        model=kwargs.pop("model", "reviews"),
        inline_items=pb.InlineItems(items=items(count)),
        **kwargs,
    )


def pending(stub: ScoringJobServiceStub, **kwargs: Any) -> str:
    request = pb.CreateScoringJobRequest(model="reviews", upload_pending=True, **kwargs)
    return stub.CreateScoringJob(request, timeout=20).job.id


def part(job: str, offset: int, count: int, *, seal: bool = False) -> pb.UploadScoringItemsRequest:
    return pb.UploadScoringItemsRequest(
        job_id=job, offset=offset, items=items(count, offset), seal=seal
    )


def get(stub: ScoringJobServiceStub, job: str) -> pb.ScoringJob:
    return stub.GetScoringJob(pb.GetScoringJobRequest(job_id=job), timeout=20).job


def finished(stub: ScoringJobServiceStub, job: str) -> pb.ScoringJob:
    """Watches the job to its end."""
    request = pb.WatchScoringJobRequest(job_id=job)
    return list(stub.WatchScoringJob(request, timeout=PATIENCE_S))[-1].job


def streamed(stub: ScoringJobServiceStub, job: str, token: str = "") -> list[pb.ScoringResult]:
    request = pb.StreamScoringResultsRequest(job_id=job, resume_token=token)
    answers = stub.StreamScoringResults(request, timeout=PATIENCE_S)
    return [row for answer in answers for row in answer.results]


def test_an_inline_job_is_scored_in_order(scoring: ScoringJobServiceStub, worker: StandIn) -> None:
    made = scoring.CreateScoringJob(inline(3000, display_name="night run"), timeout=20).job
    assert (made.total_count, made.sealed, made.display_name) == (3000, True, "night run")
    assert (made.model, made.model_version, made.engine) == ("reviews", 2, "onnx-int8")

    end = finished(scoring, made.id)
    assert end.state == pb.JOB_STATE_SUCCEEDED
    assert (end.succeeded_count, end.failed_count, end.token_count) == (3000, 0, 9000)
    assert end.expire_time.seconds - end.end_time.seconds == 7 * 86400

    rows = streamed(scoring, made.id)
    assert [row.index for row in rows] == list(range(3000))
    assert [row.id for row in rows] == [f"id-{i}" for i in range(3000)]
    assert {row.result.label for row in rows if row.index % 2} == {"good"}


def test_an_empty_text_of_a_job_is_an_error_row_not_an_error(
    scoring: ScoringJobServiceStub, worker: StandIn
) -> None:
    request = inline(2)
    request.inline_items.items[0].text = ""
    made = scoring.CreateScoringJob(request, timeout=20).job
    assert finished(scoring, made.id).state == pb.JOB_STATE_PARTIALLY_SUCCEEDED
    first, second = streamed(scoring, made.id)
    assert first.result.error.reason == "EMPTY_TEXT"
    assert second.result.label == "good"


def too_long(position: int) -> pb.CreateScoringJobRequest:
    request = inline(position + 1)
    request.inline_items.items[position].text = "x" * ((1 << 20) + 1)
    return request


def long_id() -> pb.CreateScoringJobRequest:
    request = inline(1)
    request.inline_items.items[0].id = "i" * 257
    return request


def past() -> pb.CreateScoringJobRequest:
    return inline(deadline=Timestamp(seconds=1))


def retention(seconds: int) -> pb.CreateScoringJobRequest:
    request = inline()
    request.retention.FromSeconds(seconds)
    return request


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (pb.CreateScoringJobRequest(model="reviews"), "inline_items", "upload_pending"),
        (
            pb.CreateScoringJobRequest(model="reviews", upload_pending=False),
            "inline_items",
            "upload_pending to true",
        ),
        (inline(0), "inline_items.items", "1 to 10000"),
        (inline(10_001), "inline_items.items", "10001"),
        (too_long(2), "inline_items.items[2].text", "1048577 bytes"),
        (long_id(), "inline_items.items[0].id", "256"),
        (inline(model="Reviews"), "model", "lower-case"),
        (inline(engine="tpu"), "engine", "no engine"),
        (inline(request_id="4711"), "request_id", "UUID4"),
        (inline(request_id=str(uuid.uuid1())), "request_id", "UUID4"),
        (inline(request_id=str(uuid.uuid4()).upper()), "request_id", "canonical"),
        (inline(max_failed_fraction=1.5), "max_failed_fraction", "0 to 1"),
        (inline(priority=77), "priority", "JOB_PRIORITY_LOW"),
        (inline(display_name="n" * 257), "display_name", "256"),
        (past(), "deadline", "passed"),
        (retention(0), "retention", "90 days"),
        (retention(91 * 86400), "retention", "90 days"),
        (inline(options=ScoringOptions(top_k=-3)), "options.top_k", "positive"),
    ],
)
def test_bad_input_names_the_field(
    scoring: ScoringJobServiceStub,
    refused: Refused,
    request_: pb.CreateScoringJobRequest,
    field: str,
    words: str,
) -> None:
    status = refused(scoring.CreateScoringJob, request_)
    assert (status.code, status.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert list(status.fields) == [field]
    assert words in status.message
    assert not scoring.ListScoringJobs(pb.ListScoringJobsRequest(), timeout=20).jobs


def test_a_tenant_is_taken_from_the_metadata(
    scoring: ScoringJobServiceStub, refused: Refused
) -> None:
    made = scoring.CreateScoringJob(
        inline(), timeout=20, metadata=[("labelmill-tenant", "team-a")]
    ).job
    assert made.tenant == "team-a"
    assert scoring.CreateScoringJob(inline(), timeout=20).job.tenant == "default"
    status = refused(scoring.CreateScoringJob, inline(), metadata=[("labelmill-tenant", "a:b")])
    assert status.code == "INVALID_ARGUMENT"
    assert list(status.fields) == ["labelmill-tenant"]


def test_unknown_models_and_engines_are_refused(
    scoring: ScoringJobServiceStub, refused: Refused
) -> None:
    status = refused(scoring.CreateScoringJob, inline(model="nothing"))
    assert (status.code, status.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    status = refused(scoring.CreateScoringJob, inline(model="plain", engine="openvino"))
    assert (status.code, status.reason) == ("FAILED_PRECONDITION", "ENGINE_UNAVAILABLE")
    sliding = inline(options=ScoringOptions(long_text_policy=3))
    assert refused(scoring.CreateScoringJob, sliding).code == "UNIMPLEMENTED"


def test_repeating_a_request_id_returns_the_same_job(
    scoring: ScoringJobServiceStub, refused: Refused
) -> None:
    request_id = str(uuid.uuid4())
    first = scoring.CreateScoringJob(inline(700, request_id=request_id), timeout=20).job
    again = scoring.CreateScoringJob(inline(700, request_id=request_id), timeout=20).job
    assert (again.id, again.total_count) == (first.id, 700)
    status = refused(scoring.CreateScoringJob, inline(701, request_id=request_id))
    assert (status.code, status.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def test_a_job_keeps_the_version_it_was_made_with(
    scoring: ScoringJobServiceStub, models: ModelServiceStub
) -> None:
    def alias(version: int) -> None:
        request = SetModelAliasRequest(model="reviews", alias="canary", version=version)
        models.SetModelAlias(request, timeout=20)

    alias(1)
    made = scoring.CreateScoringJob(inline(model="reviews@canary"), timeout=20).job
    alias(2)
    assert get(scoring, made.id).model_version == 1
    later = scoring.CreateScoringJob(inline(model="reviews@canary"), timeout=20).job
    assert later.model_version == 2


def test_an_upload_in_several_messages_is_one_job(
    scoring: ScoringJobServiceStub, worker: StandIn
) -> None:
    job = pending(scoring)
    parts = [part(job, 0, 300), part(job, 300, 500), part(job, 800, 0, seal=True)]
    parts[1].job_id = parts[2].job_id = ""
    answer = scoring.UploadScoringItems(iter(parts), timeout=20).job
    assert (answer.total_count, answer.sealed) == (800, True)
    assert finished(scoring, job).succeeded_count == 800


def test_a_broken_upload_goes_on_where_it_ended(
    scoring: ScoringJobServiceStub, worker: StandIn
) -> None:
    job = pending(scoring)

    def broken() -> Iterator[pb.UploadScoringItemsRequest]:
        yield part(job, 0, 400)
        deadline = time.monotonic() + PATIENCE_S
        while get(scoring, job).upload_offset < 400:
            assert time.monotonic() < deadline
        call.cancel()
        yield part(job, 400, 400)

    call = scoring.UploadScoringItems.future(broken())
    with pytest.raises(grpc.FutureCancelledError):
        call.result(PATIENCE_S)
    held = get(scoring, job)
    assert not held.sealed

    # The client cannot know what arrived, so it overlaps.
    rest = [part(job, 300, 500), part(job, 800, 200, seal=True)]
    answer = scoring.UploadScoringItems(iter(rest), timeout=20).job
    assert (answer.total_count, answer.sealed) == (1000, True)
    finished(scoring, job)
    assert [row.id for row in streamed(scoring, job)] == [f"id-{i}" for i in range(1000)]


def test_an_unsealed_upload_tells_where_to_go_on(scoring: ScoringJobServiceStub) -> None:
    job = pending(scoring)
    answer = scoring.UploadScoringItems(iter([part(job, 0, 10)]), timeout=20).job
    assert (answer.upload_offset, answer.sealed) == (10, False)


def test_sealing_twice_is_no_error(scoring: ScoringJobServiceStub) -> None:
    job = pending(scoring)
    for _ in range(2):
        answer = scoring.UploadScoringItems(iter([part(job, 0, 10, seal=True)]), timeout=20).job
        assert (answer.total_count, answer.sealed) == (10, True)


def test_a_gap_in_an_upload_is_refused_with_the_offset(
    scoring: ScoringJobServiceStub, refused: Refused
) -> None:
    job = pending(scoring)
    scoring.UploadScoringItems(iter([part(job, 0, 10)]), timeout=20)
    for gap in (part(job, 11, 5), part(job, 11, 0, seal=True)):
        status = refused(scoring.UploadScoringItems, iter([gap]))
        assert (status.code, status.reason) == ("OUT_OF_RANGE", "OFFSET_GAP")
        assert status.metadata["expected_offset"] == "10"
    early = refused(scoring.UploadScoringItems, iter([part(job, 0, 5, seal=True)]))
    assert early.code == "FAILED_PRECONDITION"
    assert early.metadata["expected_offset"] == "10"
    assert not get(scoring, job).sealed


def test_bad_uploads_name_the_field(scoring: ScoringJobServiceStub, refused: Refused) -> None:
    job = pending(scoring)
    large = part(job, 0, 5)
    for item in large.items:
        item.text = "x" * (1 << 20)
    long = part(job, 0, 1)
    long.items[0].text = "x" * ((1 << 20) + 1)
    for messages, field in (
        ([], "job_id"),
        ([part("", 0, 1)], "job_id"),
        ([part(job, -1, 1)], "offset"),
        ([part(job, 0, 10_001)], "items"),
        ([large], "items"),
        ([long], "items[0].text"),
    ):
        status = refused(scoring.UploadScoringItems, iter(messages))
        assert (status.code, list(status.fields)) == ("INVALID_ARGUMENT", [field])
    assert get(scoring, job).total_count == 0


def test_a_sealed_or_cancelled_job_takes_no_more_texts(
    scoring: ScoringJobServiceStub, refused: Refused
) -> None:
    job = pending(scoring)
    scoring.UploadScoringItems(iter([part(job, 0, 10, seal=True)]), timeout=20)
    status = refused(scoring.UploadScoringItems, iter([part(job, 10, 1)]))
    assert status.code == "FAILED_PRECONDITION"
    assert "takes no more texts" in status.message

    job = pending(scoring)
    scoring.CancelScoringJob(pb.CancelScoringJobRequest(job_id=job), timeout=20)
    for message in (part(job, 0, 1), part(job, 0, 0, seal=True)):
        assert refused(scoring.UploadScoringItems, iter([message])).code == "FAILED_PRECONDITION"


def test_an_unknown_job_is_not_found_everywhere(
    scoring: ScoringJobServiceStub, refused: Refused
) -> None:
    for name in (
        *("GetScoringJob", "WatchScoringJob", "CancelScoringJob", "PauseScoringJob"),
        *("ResumeScoringJob", "DeleteScoringJob", "ListScoringResults", "StreamScoringResults"),
    ):
        for job in ("score-0-none", "nonsense", ""):
            request = getattr(pb, f"{name}Request")(job_id=job)
            status = refused(getattr(scoring, name), request)
            assert (status.code, status.reason) == ("NOT_FOUND", "JOB_NOT_FOUND"), name
    status = refused(scoring.UploadScoringItems, iter([part("score-0-none", 0, 1)]))
    assert (status.code, status.reason) == ("NOT_FOUND", "JOB_NOT_FOUND")


def test_pause_resume_cancel_and_delete_follow_the_state(
    scoring: ScoringJobServiceStub, worker: StandIn, refused: Refused
) -> None:
    worker.held.set()
    job = scoring.CreateScoringJob(inline(10), timeout=20).job.id
    paused = scoring.PauseScoringJob(pb.PauseScoringJobRequest(job_id=job), timeout=20).job
    assert paused.state == pb.JOB_STATE_PAUSED
    status = refused(scoring.DeleteScoringJob, pb.DeleteScoringJobRequest(job_id=job))
    assert status.code == "FAILED_PRECONDITION"
    resumed = scoring.ResumeScoringJob(pb.ResumeScoringJobRequest(job_id=job), timeout=20).job
    assert resumed.state == pb.JOB_STATE_QUEUED
    for _ in range(2):
        gone = scoring.CancelScoringJob(pb.CancelScoringJobRequest(job_id=job), timeout=20).job
        assert gone.state == pb.JOB_STATE_CANCELLED
    for method, request in (
        (scoring.PauseScoringJob, pb.PauseScoringJobRequest(job_id=job)),
        (scoring.ResumeScoringJob, pb.ResumeScoringJobRequest(job_id=job)),
    ):
        status = refused(method, request)
        assert status.code == "FAILED_PRECONDITION"
        assert "CANCELLED" in status.message
    scoring.DeleteScoringJob(pb.DeleteScoringJobRequest(job_id=job), timeout=20)
    assert refused(scoring.GetScoringJob, pb.GetScoringJobRequest(job_id=job)).code == "NOT_FOUND"

    worker.held.clear()
    job = scoring.CreateScoringJob(inline(10), timeout=20).job.id
    finished(scoring, job)
    status = refused(scoring.CancelScoringJob, pb.CancelScoringJobRequest(job_id=job))
    assert status.code == "FAILED_PRECONDITION"
    assert "SUCCEEDED" in status.message


def test_a_watch_tells_every_state_once_and_ends(
    scoring: ScoringJobServiceStub, worker: StandIn
) -> None:
    worker.held.set()
    job = scoring.CreateScoringJob(inline(2000), timeout=20).job.id
    watch = scoring.WatchScoringJob(pb.WatchScoringJobRequest(job_id=job), timeout=PATIENCE_S)
    assert next(watch).job.state == pb.JOB_STATE_QUEUED
    worker.held.clear()
    started = time.monotonic()
    seen = [answer.job for answer in watch]
    assert seen[-1].state == pb.JOB_STATE_SUCCEEDED
    assert all(before != after for before, after in itertools.pairwise(seen))
    assert len(seen) <= 2 + (time.monotonic() - started) / 0.1


def test_jobs_are_listed_page_by_page_newest_first(
    scoring: ScoringJobServiceStub, refused: Refused
) -> None:
    made = [scoring.CreateScoringJob(inline(), timeout=20).job.id for _ in range(5)]
    scoring.CancelScoringJob(pb.CancelScoringJobRequest(job_id=made[2]), timeout=20)

    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListScoringJobsRequest(page_size=2, page_token=token)
        page = scoring.ListScoringJobs(request, timeout=20)
        seen += [job.id for job in page.jobs]
        if not (token := page.next_page_token):
            break
    assert sorted(seen) == sorted(made)
    request = pb.ListScoringJobsRequest(states=[pb.JOB_STATE_CANCELLED], page_size=1)
    assert [job.id for job in scoring.ListScoringJobs(request, timeout=20).jobs] == [made[2]]

    for bad, field in (
        (pb.ListScoringJobsRequest(page_token="abc"), "page_token"),
        (pb.ListScoringJobsRequest(page_size=1001), "page_size"),
        (pb.ListScoringJobsRequest(page_size=-1), "page_size"),
        (pb.ListScoringJobsRequest(states=[99]), "states[0]"),
    ):
        status = refused(scoring.ListScoringJobs, bad)
        assert (status.code, list(status.fields)) == ("INVALID_ARGUMENT", [field])


def test_results_are_listed_page_by_page_in_order(
    scoring: ScoringJobServiceStub, worker: StandIn, refused: Refused
) -> None:
    job = scoring.CreateScoringJob(inline(1000), timeout=20).job.id
    other = scoring.CreateScoringJob(inline(1), timeout=20).job.id
    finished(scoring, job)
    seen: list[int] = []
    tokens: list[str] = [""]
    while True:
        request = pb.ListScoringResultsRequest(job_id=job, page_size=300, page_token=tokens[-1])
        page = scoring.ListScoringResults(request, timeout=20)
        seen += [row.index for row in page.results]
        if not page.next_page_token:
            break
        tokens.append(page.next_page_token)
    assert seen == list(range(1000))
    assert len(tokens) == 4

    # A token resumes a stream as well, but of its own job only.
    assert [row.index for row in streamed(scoring, job, tokens[1])] == list(range(300, 1000))
    for bad in (tokens[1], "abc"):
        status = refused(
            scoring.StreamScoringResults,
            pb.StreamScoringResultsRequest(job_id=other, resume_token=bad),
        )
        assert (status.code, list(status.fields)) == ("INVALID_ARGUMENT", ["resume_token"])
        status = refused(
            scoring.ListScoringResults,
            pb.ListScoringResultsRequest(job_id=other, page_token=bad),
        )
        assert (status.code, list(status.fields)) == ("INVALID_ARGUMENT", ["page_token"])


def test_a_page_of_a_running_job_ends_where_the_results_do(
    scoring: ScoringJobServiceStub, worker: StandIn
) -> None:
    worker.held.set()
    job = scoring.CreateScoringJob(inline(10), timeout=20).job.id
    page = scoring.ListScoringResults(pb.ListScoringResultsRequest(job_id=job), timeout=20)
    assert (len(page.results), bool(page.next_page_token)) == (0, True)


def test_a_stream_of_results_follows_the_job_and_resumes(
    scoring: ScoringJobServiceStub, worker: StandIn
) -> None:
    job = pending(scoring)
    scoring.UploadScoringItems(iter([part(job, 0, 600)]), timeout=20)
    request = pb.StreamScoringResultsRequest(job_id=job)
    stream = scoring.StreamScoringResults(request, timeout=PATIENCE_S)
    seen: list[int] = []
    token = ""
    while len(seen) < 600:
        answer = next(stream)
        seen += [row.index for row in answer.results]
        token = answer.resume_token
    stream.cancel()

    scoring.UploadScoringItems(iter([part(job, 600, 500, seal=True)]), timeout=20)
    seen += [row.index for row in streamed(scoring, job, token)]
    assert seen == list(range(1100))


def test_a_cancelled_job_still_gives_what_was_scored(
    scoring: ScoringJobServiceStub, redis_url: str, server: ServerProcess
) -> None:
    job = scoring.CreateScoringJob(inline(600), timeout=20).job.id
    client = connect(redis_url)
    leases = Leases(client, "w")
    first, second = leases.lease(["onnx"]), leases.lease(["onnx"])
    assert first is not None
    assert second is not None
    rows = [pb.ScoringResult(index=second.chunk + at) for at in range(second.texts)]
    leases.commit(second, rows, tokens=1)
    leases.release(first, "RETURNED")
    client.close()
    scoring.CancelScoringJob(pb.CancelScoringJobRequest(job_id=job), timeout=20)
    assert [row.index for row in streamed(scoring, job)] == list(range(256, 512))
    with Client(server.address) as reader:
        assert [row.index for row in reader.results(job)] == list(range(256, 512))


def test_a_tenant_over_its_quota_is_refused_and_no_job_is_left(
    own_server: Callable[..., ServerProcess], registry: Registry, redis_url: str
) -> None:
    server = own_server(redis_url, registry.root, "--max-queued-texts", "100").ready()
    with server.channel() as channel:
        stub = ScoringJobServiceStub(channel)
        stub.CreateScoringJob(inline(60), timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            stub.CreateScoringJob(inline(60), timeout=20)
        status = refusal(caught.value)
        assert (status.code, status.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert status.quota == "tenant:default"
        assert status.retry_s
        assert len(stub.ListScoringJobs(pb.ListScoringJobsRequest(), timeout=20).jobs) == 1

        job = pending(stub)
        with pytest.raises(grpc.RpcError) as caught:
            stub.UploadScoringItems(iter([part(job, 0, 41)]), timeout=20)
        status = refusal(caught.value)
        assert (status.reason, status.metadata["expected_offset"]) == ("OVERLOADED", "0")


def test_new_texts_are_refused_when_redis_is_nearly_full(
    own_server: Callable[..., ServerProcess], registry: Registry, tmp_path: Path
) -> None:
    with EmbeddedServer(tmp_path / "v") as valkey:
        with redis.Redis.from_url(valkey.url) as raw:
            used = int(raw.info("memory")["used_memory"])
            raw.config_set("maxmemory", int(used * 1.25))
        server = own_server(valkey.url, registry.root).ready()
        with server.channel() as channel:
            stub = ScoringJobServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.CreateScoringJob(inline(), timeout=20)
    status = refusal(caught.value)
    assert (status.code, status.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
    assert status.quota == "redis:maxmemory"
    assert status.retry_s
