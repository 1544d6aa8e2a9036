"""What happens around every call: request id, errors as rich statuses, log line, metrics.

Handlers raise exceptions and know nothing of statuses. Requests are parsed here too, so that bytes
that are no request get a proper error instead of gRPC's own.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from labelmill.errors import InternalError
from labelmill.server.errors import by_chance, from_exception, parse, to_status
from labelmill.server.log import fields
from labelmill.server.metrics import Metrics

_log = logging.getLogger("labelmill.server.calls")

#: Metadata key of the request id: taken from the caller where given, always sent back.
REQUEST_ID_KEY = "labelmill-request-id"

#: Trailing metadata that carries a serialized google.rpc.Status.
_DETAILS_KEY = "grpc-status-details-bin"

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,64}")

#: Methods called so often that their good calls are logged at DEBUG only.
_BUSY_METHODS = frozenset(
    {"/labelmill.v1.ClassificationService/Classify", "/grpc.health.v1.Health/Check"}
)

#: Services whose streams live as long as their clients like; draining does not wait for them.
_STANDING = ("/grpc.health.", "/grpc.reflection.")

#: Services of ours: they all need Redis.
_OURS = "/labelmill."


class Active:
    """Counts calls under way that a draining server waits for."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        """One more."""
        self._count += 1
        self._none.clear()

    def leave(self) -> None:
        """One less."""
        self._count -= 1
        if not self._count:
            self._none.set()

    async def none(self) -> None:
        """Returns when no call is under way."""
        await self._none.wait()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method of every service once.

    Args:
        metrics: where calls are counted.
        gate: raises what a call of ours must be refused with before it starts.
    """

    def __init__(self, metrics: Metrics, gate: Callable[[], None]) -> None:
        self.active = Active()
        self._metrics = metrics
        self._gate = gate
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's handler, wrapped."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(
        self, method: str, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        read = _reader(handler.request_deserializer)
        given = _requests if handler.request_streaming else _request
        kind = "stream" if handler.request_streaming else "unary"
        kind += "_stream" if handler.response_streaming else "_unary"
        serve: Any = getattr(handler, kind)

        async def answer(raw: Any, context: Any) -> Any:
            async with _Call(self, method, context) as call:
                call.check()
                return await serve(given(read, raw), context)

        async def stream(raw: Any, context: Any) -> AsyncIterator[Any]:
            async with _Call(self, method, context) as call:
                call.check()
                async with aclosing(serve(given(read, raw), context)) as messages:
                    async for message in messages:
                        yield message

        async def written(raw: Any, context: Any) -> None:
            # Health's Watch writes its messages itself.
            async with _Call(self, method, context):
                await serve(given(read, raw), context)

        wrapped: Any = answer
        if handler.response_streaming:
            wrapped = written if asyncio.iscoroutinefunction(serve) else stream
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        made: grpc.RpcMethodHandler[Any, Any] = make(
            wrapped, request_deserializer=None, response_serializer=handler.response_serializer
        )
        return made


class _Call:
    """One call from its first to its last moment."""

    def __init__(self, owner: CallInterceptor, method: str, context: Any) -> None:
        self._owner = owner
        self._method = method
        self._context = context
        self._standing = method.startswith(_STANDING)
        self._id = request_id(context)
        # A stream's end may come after the call is gone, where gRPC crashes on this question.
        self._peer = context.peer()
        self._started = time.perf_counter()

    def check(self) -> None:
        """Refuses the call when nothing behind it could answer."""
        if self._method.startswith(_OURS):
            self._owner._gate()

    async def __aenter__(self) -> _Call:
        if not self._standing:
            self._owner.active.enter()
        self._owner._metrics.active.labels(self._method).inc()
        self._context.set_trailing_metadata(((REQUEST_ID_KEY, self._id),))
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        code = "OK"
        try:
            if error is not None:
                code = self._code_of(error)
                if isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                    await self._abort(error)
        finally:
            self._finish(code)

    def _code_of(self, error: BaseException) -> str:
        if isinstance(error, grpc.aio.AbortError):
            code = self._context.code()
            return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
        if isinstance(error, Exception):
            known = from_exception(error)
            return known.code if known else InternalError.code
        return "CANCELLED"

    async def _abort(self, error: Exception) -> None:
        known = from_exception(error)
        if known is None:
            known = by_chance(self._id)
            _log.error(
                "defect",
                exc_info=error,
                extra=fields(method=self._method, request_id=self._id),
            )
        status = to_status(known, self._id)
        await self._context.abort(
            getattr(grpc.StatusCode, known.code),
            status.message,
            ((_DETAILS_KEY, status.SerializeToString()), (REQUEST_ID_KEY, self._id)),
        )

    def _finish(self, code: str) -> None:
        seconds = time.perf_counter() - self._started
        owner = self._owner
        owner._metrics.active.labels(self._method).dec()
        owner._metrics.calls.labels(self._method, code).inc()
        owner._metrics.seconds.labels(self._method).observe(seconds)
        if not self._standing:
            owner.active.leave()
        level = logging.DEBUG if code == "OK" and self._method in _BUSY_METHODS else logging.INFO
        if _log.isEnabledFor(level):
            _log.log(
                level,
                "call",
                extra=fields(
                    method=self._method,
                    code=code,
                    ms=round(seconds * 1000, 3),
                    request_id=self._id,
                    peer=self._peer,
                ),
            )


def request_id(context: Any) -> str:
    """The caller's id for this call, or a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return uuid.uuid4().hex


def _reader(deserializer: Any) -> Callable[[bytes], Any]:
    kind = deserializer.__self__
    return lambda payload: parse(kind, payload)


def _request(read: Callable[[bytes], Any], raw: bytes) -> Any:
    return read(raw)


async def _requests(read: Callable[[bytes], Any], raw: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for payload in raw:
        yield read(payload)
