"""Health by grpc.health.v1, with Watch: for the server as a whole and for each service.

NOT_SERVING for all while Redis is away; for ClassificationService also while no worker lives.
"""

from __future__ import annotations

from collections.abc import Sequence

# The package's own name for the asyncio servicer is private.
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

from labelmill.server.monitor import View

_SERVING = HealthCheckResponse.SERVING
_NOT_SERVING = HealthCheckResponse.NOT_SERVING

#: Stands for the whole server.
_ALL = ""


class Health:
    """Turns views into health."""

    def __init__(self, services: Sequence[str], needs_worker: str) -> None:
        self._services = (_ALL, *services)
        self._needs_worker = needs_worker
        self.servicer = health_aio.HealthServicer()

    async def report(self, view: View) -> None:
        """Sets the health of every service."""
        for service in self._services:
            lost = view.away is not None or (service == self._needs_worker and not view.workers)
            await self.servicer.set(service, _NOT_SERVING if lost else _SERVING)

    async def drain(self) -> None:
        """NOT_SERVING for all, for good."""
        await self.servicer.enter_graceful_shutdown()
