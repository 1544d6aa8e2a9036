"""One server from start to drain: puts the services together, listens, ends in order."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from labelmill.errors import FailedPreconditionError, InvalidArgumentError
from labelmill.registry import Registry
from labelmill.registry.datasets import DatasetStore
from labelmill.server.admission import Admission
from labelmill.server.classification import ClassificationService
from labelmill.server.following import Following
from labelmill.server.health import Health
from labelmill.server.importing import Importer
from labelmill.server.interceptors import CallInterceptor
from labelmill.server.metrics import Metrics
from labelmill.server.models import ModelService
from labelmill.server.monitor import Monitor
from labelmill.server.resolve import Resolver
from labelmill.server.runs import Runs
from labelmill.server.scoring import ScoringJobService
from labelmill.server.stores import Stores
from labelmill.server.training import TrainingService
from labelmill.settings import ServerSettings
from labelmill.v1 import (
    classification_pb2,
    classification_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    scoring_pb2,
    scoring_pb2_grpc,
    training_pb2,
    training_pb2_grpc,
)

_log = logging.getLogger(__name__)

_CLASSIFICATION = classification_pb2.DESCRIPTOR.services_by_name["ClassificationService"].full_name

_SERVICES = (
    _CLASSIFICATION,
    scoring_pb2.DESCRIPTOR.services_by_name["ScoringJobService"].full_name,
    training_pb2.DESCRIPTOR.services_by_name["TrainingService"].full_name,
    models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
)

#: Shortest time between two pings of a client, in ms; ours pings every 30 s.
_CLIENT_PING_MS = 10_000

#: After this long without a sign a client is pinged, and after that long without an answer it is
#: gone, in ms: its watches then end.
_PING_MS, _PING_ANSWER_MS = 60_000, 20_000

#: Seconds until a background task that has not ended is cancelled once more.
_CANCEL_AGAIN_S = 0.5

_ADDRESS = re.compile(r"(?P<host>[^:\s]+|\[[^\]\s]+\]):(?P<port>\d{1,5})")


class Server:
    """A server; `start`, then `drain`. Belongs to the event loop it is made in."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._stores = Stores(settings)
        self._monitor = Monitor(self._stores.health)
        self._metrics = Metrics(lambda: self._monitor.view.workers)
        self._calls = CallInterceptor(self._metrics, self._monitor.check)
        self._health = Health(_SERVICES, needs_worker=_CLASSIFICATION)
        self._following = Following()
        self._tasks: list[asyncio.Task[None]] = []
        self._grpc = grpc.aio.server(
            interceptors=[self._calls],
            options=[
                # Two servers on a port would share its calls without a word.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                ("grpc.http2.min_ping_interval_without_data_ms", _CLIENT_PING_MS),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", _CLIENT_PING_MS),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.keepalive_time_ms", _PING_MS),
                ("grpc.keepalive_timeout_ms", _PING_ANSWER_MS),
            ],
        )
        self._add_services()

    def _add_services(self) -> None:
        settings, stores = self._settings, self._stores
        registry = Registry(settings.registry)
        resolver = Resolver(stores.aliases, registry, self._monitor)
        admission = Admission(settings, stores, self._monitor)
        runs = Runs(stores, resolver, self._following)
        classification_pb2_grpc.add_ClassificationServiceServicer_to_server(
            ClassificationService(
                stores.online,
                resolver,
                admission,
                self._following,
                default_deadline_s=settings.default_deadline_s,
            ),
            self._grpc,
        )
        scoring_pb2_grpc.add_ScoringJobServiceServicer_to_server(
            ScoringJobService(stores, resolver, admission, self._following), self._grpc
        )
        training_pb2_grpc.add_TrainingServiceServicer_to_server(
            TrainingService(stores, DatasetStore(settings.registry), admission, runs),
            self._grpc,
        )
        models_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(
                stores, registry, resolver, Importer(stores, admission, runs, self._monitor)
            ),
            self._grpc,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._grpc)
        if settings.reflection:
            names = (
                *_SERVICES,
                health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
                reflection.SERVICE_NAME,
            )
            reflection.enable_server_reflection(names, self._grpc)

    async def start(self) -> str:
        """Checks Redis, listens, and returns the address.

        Raises:
            InvalidArgumentError: an address that is none.
            FailedPreconditionError: the address cannot be listened on.
            QueueUnavailableError: Redis does not answer.
            QueueUnfitError: Redis would lose accepted work.
        """
        match = _ADDRESS.fullmatch(self._settings.address)
        if match is None or int(match["port"]) > 65535:
            raise InvalidArgumentError.at(
                "address", f"{self._settings.address!r} is no address; use host:port"
            )
        await self._stores.check()
        port = self._listen()
        if self._settings.metrics_port:
            self._metrics.serve(match["host"].strip("[]"), self._settings.metrics_port)
        await self._health.report(await self._monitor.fresh())
        self._background("replies", self._stores.online.run())
        self._background("monitor", self._monitor.run(self._health.report))
        await self._grpc.start()
        return f"{match['host']}:{port}"

    def _listen(self) -> int:
        address = self._settings.address
        try:
            return self._grpc.add_insecure_port(address)
        except RuntimeError as error:
            raise FailedPreconditionError(
                f"address: cannot listen on {address}; another server may have it already. Stop "
                "that one, or give another --address (LABELMILL_ADDRESS)"
            ) from error

    def _background(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report_end)
        self._tasks.append(task)

    async def drain(self) -> None:
        """NOT_SERVING, no new call, calls under way finish within drain_s, then all is closed."""
        await self._health.drain()
        self._following.drain()
        stopping = asyncio.create_task(self._grpc.stop(self._settings.drain_s))
        idle = asyncio.create_task(self._calls.active.none())
        await asyncio.wait({stopping, idle}, return_when=asyncio.FIRST_COMPLETED)
        # What is left are streams that never end by themselves, like Watch of health.
        idle.cancel()
        await self._grpc.stop(None)
        await stopping
        await self.close()

    async def close(self) -> None:
        """Ends what runs in the background and closes every connection."""
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            # Again after a moment: redis-py can swallow a cancellation.
            _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
        await self._stores.close()


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.critical("background task %s ended", task.get_name(), exc_info=error)
