"""A server process and a stand-in for workers, for tests that need the one and no real other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import grpc
import redis
from google.rpc import error_details_pb2, status_pb2

from labelmill.internal.v1.queue_pb2 import OnlineReply
from labelmill.queue.aliases import point
from labelmill.queue.connection import TRANSIENT, connect
from labelmill.queue.keys import Keys
from labelmill.queue.leases import Leases
from labelmill.queue.online import OnlineLane, Ticket
from labelmill.queue.presence import WorkerInfo, announce, leave
from labelmill.queue.training import TrainingLeases
from labelmill.v1.classification_pb2 import (
    ClassificationResult,
    ClassifyResponse,
    ItemError,
    LabelScore,
)
from labelmill.v1.scoring_pb2 import ScoringResult
from labelmill.v1.training_pb2 import TrainingEvent

#: Seconds that anything awaited here may take.
PATIENCE_S = 30.0

READY = "labelmill server ready on "


class ServerProcess:
    """`python -m labelmill.server` on a free port, with its stderr in a file."""

    def __init__(self, redis_url: str, registry: Path, log: Path, *options: str) -> None:
        self.log = log
        self.address = ""
        address = () if "--address" in options else ("--address", "127.0.0.1:0")
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "labelmill.server"),
                    *("--redis-url", redis_url, "--registry", str(registry)),
                    *address,
                    *options,
                ],
                stdout=subprocess.DEVNULL,
                stderr=output,
                env={**os.environ, "PYTHONWARNINGS": "error"},
            )

    def ready(self) -> ServerProcess:
        """Waits for the ready line."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.output().splitlines():
                if line.startswith(READY):
                    self.address = line.removeprefix(READY)
                    return self
            time.sleep(0.01)
        raise AssertionError(f"no server: {self.output()}")

    def output(self) -> str:
        """What it wrote so far."""
        return self.log.read_text()

    def channel(self) -> grpc.Channel:
        """A connection to it."""
        return grpc.insecure_channel(self.address, [("grpc.enable_http_proxy", 0)])

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Ends it, if nothing else did."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class StandIn:
    """A thread that takes the place of workers: "good" is good, everything else is bad.

    A text "boom" fails the online request. While `held` is set nothing is answered, scored or
    trained.
    """

    def __init__(self, redis_url: str, *, engines: tuple[str, ...] = ("onnx-int8",)) -> None:
        self._client = connect(redis_url)
        self._name = "stand-in"
        self._engines = engines
        self._pools = list(dict.fromkeys(engine.partition("-")[0] for engine in engines))
        self._ending = threading.Event()
        self.held = threading.Event()
        #: Online requests taken, answered or not.
        self.taken: list[Ticket] = []
        self._thread = threading.Thread(target=self._run, name=self._name)

    def start(self) -> StandIn:
        """Announces itself, then works in a thread."""
        self._lane = OnlineLane(self._client, self._name)
        self._lane.open(self._pools)
        self._leases = Leases(self._client, self._name)
        self._training = TrainingLeases(self._client, self._name)
        self._announce()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the thread and says so."""
        self._ending.set()
        self._thread.join(PATIENCE_S)
        leave(self._client, self._name, Keys())
        self._client.close()

    def _announce(self) -> None:
        info = WorkerInfo(
            name=self._name,
            pools=self._pools,
            engines=list(self._engines),
            threads=1,
            trains=True,
            host="h",
            pid=1,
        )
        announce(self._client, info, Keys())
        self._announced = time.monotonic()

    def _run(self) -> None:
        unanswered: list[Ticket] = []
        while not self._ending.is_set():
            try:
                if time.monotonic() - self._announced > 1:
                    self._announce()
                taken = self._lane.take(64, block_s=0.01)
                self.taken += taken
                unanswered += taken
                if self.held.is_set():
                    continue
                while unanswered:
                    self._answer(unanswered.pop(0))
                self._score()
                self._train()
            except TRANSIENT:
                self._ending.wait(0.05)
            except redis.exceptions.ResponseError as error:
                # The database was emptied between two tests.
                if "NOGROUP" not in str(error):
                    raise
                self._lane.open(self._pools)

    def _answer(self, ticket: Ticket) -> None:
        request = ticket.request
        if "boom" in request.texts:
            error = ItemError(reason="ENGINE_UNAVAILABLE", message="this machine cannot")
            self._lane.reply(ticket, OnlineReply(id=request.id, error=error))
            return
        response = ClassifyResponse(
            results=[result(text) for text in request.texts],
            model=request.model,
            model_version=request.version,
            engine=request.engine,
            batch_size=len(request.texts),
        )
        self._lane.reply(ticket, OnlineReply(id=request.id, response=response))

    def _score(self) -> None:
        lease = self._leases.lease(self._pools)
        items = lease and self._leases.read(lease)
        if lease and items:
            rows = [
                ScoringResult(index=lease.chunk + at, id=item.id, result=result(item.text))
                for at, item in enumerate(items)
            ]
            self._leases.commit(lease, rows, tokens=3 * len(items))

    def _train(self) -> None:
        leased = self._training.lease()
        if leased is None:
            return
        record, token = leased
        for number in range(3):
            event = TrainingEvent(stage="fine-tune", progress=number / 3, message=f"step {number}")
            self._training.event(record.id, token, event)
        if record.alias:
            point(self._client, record.model, record.alias, 1)
        done = TrainingEvent(stage="register", progress=1, message="done")
        self._training.finish(record.id, token, "SUCCEEDED", done, version=1)


def result(text: str) -> ClassificationResult:
    """What the stand-in makes of a text."""
    if not text.strip():
        return ClassificationResult(error=ItemError(reason="EMPTY_TEXT", message="empty"))
    label = "good" if "good" in text else "bad"
    return ClassificationResult(
        label=label, score=0.9, scores=[LabelScore(label=label, score=0.9)], token_count=3
    )


class Refusal(NamedTuple):
    """A status in its parts."""

    code: str
    reason: str
    #: Field path → description.
    fields: dict[str, str]
    message: str
    metadata: dict[str, str]
    retry_s: float | None
    quota: str


def refusal(error: BaseException) -> Refusal:
    """Reads the rich status of a failed call."""
    assert isinstance(error, grpc.RpcError)
    assert isinstance(error, grpc.Call)
    info = error_details_pb2.ErrorInfo()
    fields: dict[str, str] = {}
    retry_s: float | None = None
    quota = ""
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        assert isinstance(value, bytes)
        for detail in status_pb2.Status.FromString(value).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                detail.Unpack(info)
                assert info.domain == "labelmill"
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest()
                detail.Unpack(bad)
                fields |= {v.field: v.description for v in bad.field_violations}
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo()
                detail.Unpack(retry)
                retry_s = retry.retry_delay.ToTimedelta().total_seconds()
            elif detail.Is(error_details_pb2.QuotaFailure.DESCRIPTOR):
                failure = error_details_pb2.QuotaFailure()
                detail.Unpack(failure)
                quota = failure.violations[0].subject
    return Refusal(
        error.code().name,
        info.reason,
        fields,
        error.details() or "",
        dict(info.metadata),
        retry_s,
        quota,
    )
