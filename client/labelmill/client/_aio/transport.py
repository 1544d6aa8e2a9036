"""Sends calls over an asyncio channel: deadlines, retries, reconnects. Knows no RPC by name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from labelmill.client._wire.backoff import Backoff, RetryPolicy
from labelmill.client._wire.call import Call, Cursor, Method, Page
from labelmill.client._wire.status import to_error
from labelmill.client._wire.target import channel_options, resolve_address
from labelmill.errors import FailedPreconditionError, LabelmillError, ServerUnavailableError

T = TypeVar("T")

_CLOSED_UNDER_WAY = "this client was closed while the call was under way"


class AsyncTransport:
    """A channel and the rules for calls on it; belongs to the event loop that first uses it."""

    def __init__(
        self,
        address: str | None,
        *,
        timeout_s: float,
        reconnect_timeout_s: float,
        retry: RetryPolicy,
        credentials: grpc.ChannelCredentials | None,
    ) -> None:
        self.address = resolve_address(address)
        self._timeout_s = timeout_s
        self._reconnect_timeout_s = reconnect_timeout_s
        self._retry = retry
        self._credentials = credentials
        self._pid = os.getpid()
        self._closed = False
        self._callables: dict[str, Any] = {}
        self._channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """Closes the channel; calls under way end with an error."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def unary(self, call: Call[T], timeout_s: float | None = None) -> T:
        """Sends `call` and returns its parsed answer; raises LabelmillError."""
        retry = self._retry if call.repeatable else RetryPolicy(max_attempts=1)
        backoff = Backoff(retry, timeout_s=self._timeout_s if timeout_s is None else timeout_s)
        send = self._callable("unary_unary", call.method)
        response = await self._attempts(lambda left: send(call.request, timeout=left), backoff)
        return call.parse(response)

    async def pages(
        self, page: Callable[[str], Call[Page[T]]], timeout_s: float | None
    ) -> AsyncIterator[T]:
        """The items of all pages; `timeout_s` holds for each page."""
        token = ""
        while True:
            found = await self.unary(page(token), timeout_s)
            for item in found.items:
                yield item
            if not (token := found.next_token):
                return

    async def follow(
        self, cursor: Cursor[T], *, timeout_s: float | None = None
    ) -> AsyncGenerator[T, None]:
        """What the stream sends, across reconnects."""
        backoff = Backoff(self._retry, timeout_s=timeout_s, patience_s=self._reconnect_timeout_s)
        open_stream = self._callable("unary_stream", cursor.method)
        while True:
            stream = open_stream(cursor.request(), timeout=backoff.remaining_s())
            try:
                async for response in stream:
                    backoff.progress()
                    yield cursor.receive(response)
                    if cursor.complete(ended=False):
                        return
                if cursor.complete(ended=True):
                    return
                error: LabelmillError = ServerUnavailableError(
                    f"the server at {self.address} ended the stream before it was complete"
                )
            except grpc.aio.AioRpcError as status:
                error = self._error(status)
            except asyncio.CancelledError:
                self._check_cancelled()
                raise
            finally:
                stream.cancel()
            await asyncio.sleep(backoff.delay_s(error))

    async def upload(
        self,
        method: Method[Any, Any],
        messages: Callable[[], AsyncIterator[Message]],
        *,
        backoff: Backoff | None = None,
    ) -> Any:
        """Sends a stream of `messages`, made anew for every attempt, and returns the answer."""
        send = self._callable("stream_unary", method)
        failures: list[Exception] = []

        async def recorded() -> AsyncIterator[Message]:
            try:
                async for message in messages():
                    yield message
            except Exception as error:
                # gRPC would only cancel the call and keep the reason to itself.
                failures.append(error)
                raise

        try:
            return await self._attempts(
                lambda left: send(recorded(), timeout=left), backoff or self.patient()
            )
        except asyncio.CancelledError:
            if failures:
                raise failures[0] from None
            raise

    def patient(
        self, timeout_s: float | None = None, *, wait_out_overload: bool = False
    ) -> Backoff:
        """The backoff of work that outlives a restart of the server."""
        return Backoff(
            self._retry,
            timeout_s=timeout_s,
            patience_s=self._reconnect_timeout_s,
            wait_out_overload=wait_out_overload,
        )

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Returns once the channel is connected; raises ServerUnavailableError."""
        channel = self._connect()
        try:
            await asyncio.wait_for(channel.channel_ready(), timeout_s)
        except TimeoutError:
            raise ServerUnavailableError(
                f"no labelmill server answered at {self.address} within {timeout_s:g} s; start "
                "one with `labelmill up`, or give its --address (LABELMILL_ADDRESS)",
                metadata={"address": self.address},
            ) from None

    async def _attempts(
        self, attempt: Callable[[float | None], Awaitable[T]], backoff: Backoff
    ) -> T:
        while True:
            try:
                answer = await attempt(backoff.remaining_s())
            except grpc.aio.AioRpcError as status:
                error = self._error(status)
            except asyncio.CancelledError:
                self._check_cancelled()
                raise
            else:
                backoff.progress()
                return answer
            await asyncio.sleep(backoff.delay_s(error))

    def _callable(self, kind: str, method: Method[Any, Any]) -> Any:
        channel = self._connect()
        found = self._callables.get(method.path)
        if found is None:
            found = self._callables[method.path] = getattr(channel, kind)(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
        return found

    def _connect(self) -> grpc.aio.Channel:
        """The channel, made on first use because it binds itself to the running event loop."""
        if self._closed:
            raise FailedPreconditionError("this client is closed; make a new one")
        if os.getpid() != self._pid:
            raise FailedPreconditionError(
                "this client was made before the process forked, and a gRPC channel does not "
                "survive a fork; make the client in the child process"
            )
        if self._channel is None:
            options = channel_options(self.address)
            self._channel = (
                grpc.aio.insecure_channel(self.address, options)
                if self._credentials is None
                else grpc.aio.secure_channel(self.address, self._credentials, options)
            )
        return self._channel

    def _check_cancelled(self) -> None:
        """Raises when a cancellation comes from `close` and not from the caller's task."""
        task = asyncio.current_task()
        if self._closed and task is not None and not task.cancelling():
            raise FailedPreconditionError(_CLOSED_UNDER_WAY) from None

    def _error(self, status: grpc.aio.AioRpcError) -> LabelmillError:
        if self._closed:
            return FailedPreconditionError(_CLOSED_UNDER_WAY)
        return to_error(status, self.address)
