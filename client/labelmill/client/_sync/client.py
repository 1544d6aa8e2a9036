"""The blocking client."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc

from labelmill.client._sync.models import Models
from labelmill.client._sync.scoring import Scoring
from labelmill.client._sync.training import Training
from labelmill.client._sync.transport import Transport
from labelmill.client._wire.backoff import RetryPolicy
from labelmill.client._wire.target import DEFAULT_RECONNECT_TIMEOUT_S, DEFAULT_TIMEOUT_S


class Client(Scoring, Training, Models):
    """A connection to a labelmill server, for any number of threads.

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
        self._transport = Transport(
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

    def wait_until_ready(self, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """Returns once the server accepts connections; raises ServerUnavailableError."""
        self._transport.wait_until_ready(timeout)

    def close(self) -> None:
        """Closes the connection; calls under way end with an error. Closing twice is no error."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
