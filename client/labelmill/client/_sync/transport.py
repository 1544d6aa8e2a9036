"""Sends calls over a blocking channel: deadlines, retries, reconnects. Knows no RPC by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import Message

from labelmill.client._sync.interrupts import Interrupts
from labelmill.client._sync.stop import Stop
from labelmill.client._wire.backoff import Backoff, RetryPolicy
from labelmill.client._wire.call import Call, Cursor, Method, Page
from labelmill.client._wire.status import Status, to_error
from labelmill.client._wire.target import channel_options, resolve_address
from labelmill.errors import (
    CancelledError,
    FailedPreconditionError,
    LabelmillError,
    ServerUnavailableError,
)

T = TypeVar("T")


class Transport:
    """A channel and the rules for calls on it; safe to use from several threads."""

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
        self._pid = os.getpid()
        self._closed = False
        self._callables: dict[str, Any] = {}
        #: Does nothing unless the program has it installed.
        self.interrupts = Interrupts()
        options = channel_options(self.address)
        self._channel: grpc.Channel = (
            grpc.insecure_channel(self.address, options)
            if credentials is None
            else grpc.secure_channel(self.address, credentials, options)
        )

    def close(self) -> None:
        """Closes the channel; calls under way end with CancelledError."""
        self._closed = True
        with self.interrupts.shield():
            self._channel.close()

    def unary(self, call: Call[T], timeout_s: float | None = None) -> T:
        """Sends `call` and returns its parsed answer; raises LabelmillError."""
        retry = self._retry if call.repeatable else RetryPolicy(max_attempts=1)
        backoff = Backoff(retry, timeout_s=self._timeout_s if timeout_s is None else timeout_s)
        send = self._callable("unary_unary", call.method)

        def attempt(left_s: float | None) -> Any:
            if not self.interrupts.active:
                # Faster than a future by a thread's wake-up.
                return send(call.request, timeout=left_s)
            with self.interrupts.shield() as shield:
                future = send.future(call.request, timeout=left_s)
                shield.watch(future.cancel)
                return future.result()

        return call.parse(self._attempts(attempt, backoff, stop=Stop()))

    def pages(self, page: Callable[[str], Call[Page[T]]], timeout_s: float | None) -> Iterator[T]:
        """The items of all pages; `timeout_s` holds for each page."""
        token = ""
        while True:
            found = self.unary(page(token), timeout_s)
            yield from found.items
            if not (token := found.next_token):
                return

    def follow(
        self, cursor: Cursor[T], *, timeout_s: float | None = None, stop: Stop | None = None
    ) -> Iterator[T]:
        """What the stream sends, across reconnects; ends early and silently once `stop` is set."""
        stop = stop or Stop()
        backoff = Backoff(self._retry, timeout_s=timeout_s, patience_s=self._reconnect_timeout_s)
        open_stream = self._callable("unary_stream", cursor.method)
        while not stop.is_set():
            with self.interrupts.shield():
                stream = open_stream(cursor.request(), timeout=backoff.remaining_s())
            try:
                with stop.cancelling(stream.cancel):
                    for response in self._responses(stream):
                        backoff.progress()
                        yield cursor.receive(response)
                        if cursor.complete(ended=False):
                            return
                if cursor.complete(ended=True):
                    return
                error: LabelmillError = ServerUnavailableError(
                    f"the server at {self.address} ended the stream before it was complete"
                )
            except grpc.RpcError as status:
                if stop.is_set():
                    return
                error = self._error(status)
            finally:
                with self.interrupts.shield():
                    stream.cancel()
            self._wait(stop, backoff.delay_s(error))

    def _responses(self, stream: Any) -> Iterator[Any]:
        while True:
            with self.interrupts.shield() as shield:
                shield.watch(stream.cancel)
                response = next(stream, None)
            if response is None:
                return
            yield response

    def upload(
        self,
        method: Method[Any, Any],
        messages: Callable[[], Iterator[Message]],
        *,
        backoff: Backoff | None = None,
        stop: Stop | None = None,
    ) -> Any:
        """Sends a stream of `messages`, made anew for every attempt, and returns the answer."""
        stop = stop or Stop()
        send = self._callable("stream_unary", method)
        failures: list[Exception] = []

        def recorded() -> Iterator[Message]:
            try:
                yield from messages()
            except Exception as error:
                # gRPC takes it from its own thread and reports only that there was one.
                failures.append(error)
                raise

        def attempt(left_s: float | None) -> Any:
            with self.interrupts.shield() as shield:
                future = send.future(recorded(), timeout=left_s)
                shield.watch(future.cancel)
                with stop.cancelling(future.cancel):
                    try:
                        return future.result()
                    except grpc.FutureCancelledError:
                        raise CancelledError("the upload was stopped") from None
                    except grpc.RpcError:
                        if failures:
                            raise failures[0] from None
                        raise
                    finally:
                        future.cancel()

        return self._attempts(attempt, backoff or self.patient(), stop)

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

    def wait_until_ready(self, timeout_s: float) -> None:
        """Returns once the channel is connected; raises ServerUnavailableError."""
        self._check()
        try:
            ready = grpc.channel_ready_future(self._channel)
            ready.result(timeout=timeout_s)
        except grpc.FutureTimeoutError:
            raise ServerUnavailableError(
                f"no labelmill server answered at {self.address} within {timeout_s:g} s; start "
                "one with `labelmill up`, or give its --address (LABELMILL_ADDRESS)",
                metadata={"address": self.address},
            ) from None

    def _attempts(self, attempt: Callable[[float | None], T], backoff: Backoff, stop: Stop) -> T:
        while True:
            try:
                answer = attempt(backoff.remaining_s())
            except grpc.RpcError as status:
                error = self._error(status)
            else:
                backoff.progress()
                return answer
            if self._wait(stop, backoff.delay_s(error)):
                raise CancelledError("the call was stopped")

    def _wait(self, stop: Stop, seconds: float) -> bool:
        with self.interrupts.shield() as shield:
            shield.watch(stop.set)
            return stop.wait(seconds)

    def _callable(self, kind: str, method: Method[Any, Any]) -> Any:
        self._check()
        found = self._callables.get(method.path)
        if found is None:
            found = self._callables[method.path] = getattr(self._channel, kind)(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
        return found

    def _check(self) -> None:
        if self._closed:
            raise FailedPreconditionError("this client is closed; make a new one")
        if os.getpid() != self._pid:
            raise FailedPreconditionError(
                "this client was made before the process forked, and a gRPC channel does not "
                "survive a fork; make the client in the child process"
            )

    def _error(self, status: grpc.RpcError) -> LabelmillError:
        if self._closed:
            return FailedPreconditionError("this client was closed while the call was under way")
        return to_error(cast("Status", status), self.address)
