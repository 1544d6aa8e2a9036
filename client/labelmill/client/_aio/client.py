"""The asyncio client."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc

from labelmill.client._aio.models import AsyncModels
from labelmill.client._aio.scoring import AsyncScoring
from labelmill.client._aio.training import AsyncTraining
from labelmill.client._aio.transport import AsyncTransport
from labelmill.client._wire.backoff import RetryPolicy
from labelmill.client._wire.target import DEFAULT_RECONNECT_TIMEOUT_S, DEFAULT_TIMEOUT_S


class AsyncClient(AsyncScoring, AsyncTraining, AsyncModels):
    """A connection to a labelmill server, for any number of tasks of one event loop.

    It connects when first used and reconnects by itself. Make one per process and keep it; use it
    as a context manager or `close` it. A client does not survive a fork: make it in the child.

    Args:
        address: host:port, or a gRPC target such as ``dns:///name:port``; None takes
            LABELMILL_ADDRESS, or 127.0.0.1:50051.
        timeout: seconds for a unary call with its retries, where the call names none.
        reconnect_timeout: seconds that watches, uploads and streams of results go on
            reconnecting in vain.
        retry: how calls that meet UNAVAILABLE are tried again.
        credentials: of a secure channel; None connects in plain text.

    Raises:
        InvalidArgumentError: `address` is none.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
        reconnect_timeout: float = DEFAULT_RECONNECT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._transport = AsyncTransport(
            address,
            timeout_s=timeout,
            reconnect_timeout_s=reconnect_timeout,
            retry=retry or RetryPolicy(),
            credentials=credentials,
        )

    @property
    def address(self) -> str:
        """Where the server is."""
        return self._transport.address

    async def wait_until_ready(self, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Returns once the server accepts connections; raises ServerUnavailableError."""
        await self._transport.wait_until_ready(timeout)

    async def close(self) -> None:
        """Closes the connection; calls under way end with an error. Closing twice is no error."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
