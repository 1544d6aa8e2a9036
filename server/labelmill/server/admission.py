"""Bounds: what is refused on arrival because it could not be served or held.

Owns the decision. The tenant's quota of waiting texts is the queue's own, atomic one; here it is
only looked at before a job is made for nothing.
"""

from __future__ import annotations

from labelmill.errors import OverloadedError
from labelmill.server.monitor import Monitor
from labelmill.server.stores import Stores
from labelmill.settings import ServerSettings

#: Seconds until a refused Classify call should be tried again, and until a refused job should.
_CALL_RETRY_S, _JOB_RETRY_S = 0.2, 5.0


class Admission:
    """Raises OverloadedError, with a time to retry, for what is too much."""

    def __init__(self, settings: ServerSettings, stores: Stores, monitor: Monitor) -> None:
        self._settings = settings
        self._stores = stores
        self._monitor = monitor

    def classify(self, pool: str) -> None:
        """Admits one Classify call for the workers of `pool`."""
        under_way = self._stores.online.in_flight
        if under_way >= self._settings.max_online_requests:
            raise OverloadedError(
                f"{under_way} Classify calls are under way on this server, its limit "
                "(max_online_requests); try again shortly, or send more texts a call",
                retry_after_s=_CALL_RETRY_S,
                metadata={"subject": "server:max_online_requests"},
            )
        queued = self._monitor.view.queued.get(pool, 0)
        if queued >= self._settings.max_queued_requests:
            raise OverloadedError(
                f"{queued} Classify calls wait for {pool} workers, over the limit "
                "(max_queued_requests); try again shortly, or start more workers",
                retry_after_s=_CALL_RETRY_S,
                metadata={"subject": f"pool:{pool}"},
            )

    def memory(self) -> None:
        """Admits something that Redis will have to hold."""
        view = self._monitor.view
        share = self._settings.memory_fraction
        if view.max_memory and view.used_memory > view.max_memory * share:
            raise OverloadedError(
                f"Redis uses {view.used_memory >> 20} MiB, over {share:.0%} of its maxmemory of "
                f"{view.max_memory >> 20} MiB (memory_fraction); try again when jobs are done, "
                "delete old jobs or raise maxmemory",
                retry_after_s=_JOB_RETRY_S,
                metadata={"subject": "redis:maxmemory"},
            )

    async def texts(self, tenant: str, count: int) -> None:
        """Admits a job with `count` texts."""
        self.memory()
        waiting = await self._stores.jobs.waiting(tenant)
        limit = self._settings.max_queued_texts
        if waiting + count > limit:
            raise OverloadedError(
                f"tenant {tenant} has {waiting} texts waiting, and {count} more would pass its "
                f"limit of {limit} (max_queued_texts); wait until some are scored",
                retry_after_s=_JOB_RETRY_S,
                metadata={"subject": f"tenant:{tenant}"},
            )
