"""The worker process: puts the threads together, starts and drains them."""

from __future__ import annotations

import logging
import os
import socket
import threading

from labelmill.errors import InvalidArgumentError
from labelmill.names import ENGINE_CHOICES
from labelmill.queue import presence
from labelmill.queue.connection import check_fitness, connect, policy_of
from labelmill.queue.keys import Keys
from labelmill.queue.leases import Leases
from labelmill.queue.online import OnlineLane
from labelmill.queue.training import TrainingLeases
from labelmill.registry import Registry
from labelmill.settings import WorkerSettings
from labelmill.worker.bulk import BulkIntake
from labelmill.worker.compute import ComputeThreads
from labelmill.worker.cpu import has_bf16, usable_cores
from labelmill.worker.engines.base import missing_library
from labelmill.worker.finisher import Finisher
from labelmill.worker.loops import RedisLoop
from labelmill.worker.models import ModelCache
from labelmill.worker.online import OnlineIntake
from labelmill.worker.scheduler import Scheduler
from labelmill.worker.training import TrainingSupervisor

_log = logging.getLogger(__name__)

#: Seconds between rounds of reaping lost leases.
_REAP_S = 5.0

#: Seconds between looks for retries that are due.
_PROMOTE_S = 0.5

#: Seconds that the last replies and commits get after compute has ended.
_FLUSH_S = 5.0


class Worker:
    """One worker; `start`, then `drain`.

    Raises:
        InvalidArgumentError: an engine family that does not exist, or whose library does not.
        QueueUnfitError: Redis would lose accepted work.
        RedisError: Redis does not answer.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        families = {name.partition("-")[0] for name in ENGINE_CHOICES}
        for engine in settings.engines:
            if engine not in families:
                raise InvalidArgumentError.at(
                    "engines", f"{engine!r} is none of {', '.join(sorted(families))}"
                )
            if missing := missing_library(engine):
                raise InvalidArgumentError.at("engines", missing)
        self._redis = connect(settings.redis_url)
        info = self._redis.info()
        assert isinstance(info, dict)
        check_fitness(info, policy_of(info))
        self._keys = Keys()
        name, pools = settings.worker_id, settings.engines
        self.threads = settings.threads or usable_cores()
        registry = Registry(settings.registry)
        self._lane = OnlineLane(self._redis, name)
        self._lane.open(pools)
        self._leases = Leases(self._redis, name)
        self._models = ModelCache(registry, limit=settings.max_loaded_models, threads=self.threads)
        self._scheduler = Scheduler()
        self._compute = ComputeThreads(self._scheduler, self.threads)
        self._finisher = Finisher()
        self._online = OnlineIntake(self._lane, self._models, self._scheduler, self._finisher)
        self._bulk = BulkIntake(
            self._leases,
            self._models,
            self._scheduler,
            self._finisher,
            self._compute,
            pools=pools,
            threads=self.threads,
        )
        self._training = (
            TrainingSupervisor(self._redis, TrainingLeases(self._redis, name), registry.root)
            if settings.train
            else None
        )
        self._engines = _runnable(pools)
        self._intakes = [
            RedisLoop("online", self._online.step),
            RedisLoop("bulk", self._bulk.step),
        ]
        self._upkeep = [
            RedisLoop("announce", self._announce, every_s=presence.ANNOUNCE_S),
            RedisLoop("reap", self._reap, every_s=_REAP_S),
            RedisLoop("promote", self._leases.promote, every_s=_PROMOTE_S),
            self._bulk.beater,
        ]

    def start(self) -> None:
        """Starts every thread; the worker takes work when this returns."""
        self._announce()
        self._compute.start()
        self._finisher.start()
        for loop in [*self._upkeep, *self._intakes]:
            loop.start()
        if self._training:
            self._training.loop.start()

    def drain(self) -> None:
        """Takes no more work, finishes what it holds within drain_s, gives back the rest."""
        for loop in self._intakes:
            loop.stop()
        if self._training:
            self._training.stop()
        for loop in self._intakes:
            loop.join(2.0)
        self._scheduler.close()
        if not self._compute.join(self._settings.drain_s):
            _log.warning("work was not done within %.0f s; giving it back", self._settings.drain_s)
        self._finisher.close(_FLUSH_S)
        for loop in self._upkeep:
            loop.stop()
        self._bulk.return_all()
        if self._training:
            self._training.loop.join(_FLUSH_S)
        padding = self._compute.padding.total()
        _log.info("scored %d tokens, %.1f%% padding", padding.tokens, 100 * padding.waste)
        presence.leave(self._redis, self._settings.worker_id, self._keys)
        self._redis.close()

    def _announce(self) -> None:
        padding = self._compute.padding.total()
        info = presence.WorkerInfo(
            name=self._settings.worker_id,
            pools=self._settings.engines,
            engines=self._engines,
            threads=self.threads,
            trains=self._settings.train,
            host=socket.gethostname(),
            pid=os.getpid(),
            loaded=self._models.names(),
            warnings=self._models.warnings(),
            tokens=padding.tokens,
            padded_tokens=padding.padded_tokens,
        )
        presence.announce(self._redis, info, self._keys)

    def _reap(self) -> None:
        dead = presence.dead(self._redis, self._keys)
        if lost := self._leases.reap(dead):
            _log.warning("took back %d lost leases", lost)
        if dead:
            _log.warning("workers gone: %s", ", ".join(dead))
            self._online.accept(self._lane.take_over(dead))
            presence.bury(self._redis, dead, self._keys)


def _runnable(pools: list[str]) -> list[str]:
    """Concrete engines of `pools` that this machine can run."""
    names = {name for pool in pools for name in ENGINE_CHOICES[pool]}
    if "torch-bf16" in names and not (has_bf16() or _has_cuda()):
        names.discard("torch-bf16")
    return sorted(names)


def _has_cuda() -> bool:
    # Only a worker asked to serve torch pays for its import.
    import torch

    return torch.cuda.is_available()


def run(settings: WorkerSettings, ending: threading.Event) -> None:
    """Runs a worker until `ending` is set, then drains it."""
    worker = Worker(settings)
    worker.start()
    _log.info(
        "worker %s ready: engines %s, %d threads",
        settings.worker_id,
        ", ".join(settings.engines),
        worker.threads,
    )
    ending.wait()
    _log.info("draining")
    worker.drain()
