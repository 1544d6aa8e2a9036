"""Callers that hang up in the middle of a stream."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import ServerProcess

from labelmill.v1 import scoring_pb2 as pb
from labelmill.v1.models_pb2 import ListModelsRequest
from labelmill.v1.models_pb2_grpc import ModelServiceStub
from labelmill.v1.scoring_pb2_grpc import ScoringJobServiceStub


@pytest.mark.usefixtures("redis_url")
def test_the_server_outlives_streams_that_end_as_their_callers_go(server: ServerProcess) -> None:
    with server.channel() as channel:
        jobs = ScoringJobServiceStub(channel)
        request = pb.CreateScoringJobRequest(model="reviews", upload_pending=True)
        made = jobs.CreateScoringJob(request, timeout=20).job.id
        jobs.CancelScoringJob(pb.CancelScoringJobRequest(job_id=made), timeout=20)

    def watch(_: int) -> None:
        with server.channel() as channel:
            jobs = ScoringJobServiceStub(channel)
            for _ in range(20):
                # The job is final: server and caller end the stream at the same moment.
                call = jobs.WatchScoringJob(pb.WatchScoringJobRequest(job_id=made), timeout=20)
                next(iter(call))
                call.cancel()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(watch, range(16)))
    with server.channel() as channel:
        assert ModelServiceStub(channel).ListModels(ListModelsRequest(), timeout=20).models
