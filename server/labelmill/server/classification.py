"""ClassificationService: a few texts in, their labels out while the caller waits."""

# ruff: noqa: ARG002, N802 - names and arguments are those of the generated base class

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from labelmill.errors import (
    InternalError,
    InvalidArgumentError,
    LabelmillError,
    OverloadedError,
    by_reason,
)
from labelmill.internal.v1.queue_pb2 import OnlineReply, OnlineRequest
from labelmill.names import engine_family
from labelmill.queue.online import OnlineClient
from labelmill.server import validate
from labelmill.server.admission import Admission
from labelmill.server.errors import clipped, from_exception
from labelmill.server.following import Following
from labelmill.server.resolve import Resolver
from labelmill.v1.classification_pb2 import (
    ClassifyRequest,
    ClassifyResponse,
    ItemError,
    StreamClassifyRequest,
    StreamClassifyResponse,
)
from labelmill.v1.classification_pb2_grpc import ClassificationServiceServicer

#: Longest that a request may wait, whatever its caller's deadline, in s: so long its texts may lie
#: in Redis.
_LONGEST_DEADLINE_S = 600.0

#: Requests of one stream under way at the same time; the next is read when one is answered.
_STREAM_REQUESTS = 64

#: Bytes of a message in a stream's error.
_MAX_MESSAGE_BYTES = 2000

#: Seconds until a call should be tried again that failed for a reason that passes.
_RETRY_S = 1.0


class ClassificationService(ClassificationServiceServicer):
    """Online calls."""

    def __init__(
        self,
        online: OnlineClient,
        resolver: Resolver,
        admission: Admission,
        following: Following,
        *,
        default_deadline_s: float,
    ) -> None:
        self._online = online
        self._resolver = resolver
        self._admission = admission
        self._following = following
        self._default_deadline_s = default_deadline_s

    async def Classify(self, request: ClassifyRequest, context: Any) -> ClassifyResponse:
        """See classification.proto."""
        left_s = context.time_remaining()
        return await self._classify(request, self._default_deadline_s if left_s is None else left_s)

    async def StreamClassify(
        self, request_iterator: AsyncIterator[StreamClassifyRequest], context: Any
    ) -> AsyncIterator[StreamClassifyResponse]:
        """See classification.proto."""
        answers: asyncio.Queue[StreamClassifyResponse | Exception | None] = asyncio.Queue()
        slots = asyncio.Semaphore(_STREAM_REQUESTS)
        waiting: dict[str, asyncio.Task[None]] = {}

        async def answer(message: StreamClassifyRequest) -> None:
            try:
                answers.put_nowait(await self._answer(message))
            except Exception as error:  # noqa: BLE001 - raised where the queue is read
                answers.put_nowait(error)
            del waiting[message.correlation_id]

        async def read() -> None:
            end: Exception | None = None
            try:
                async with aclosing(self._following.until_drained(request_iterator)) as messages:
                    async for message in messages:
                        await slots.acquire()
                        if message.correlation_id in waiting:
                            answers.put_nowait(_twice(message))
                        else:
                            waiting[message.correlation_id] = asyncio.create_task(answer(message))
            except Exception as error:  # noqa: BLE001 - raised where the queue is read
                end = error
            # What was begun is answered before the stream ends.
            await asyncio.gather(*waiting.values())
            answers.put_nowait(end)

        reader = asyncio.create_task(read())
        try:
            while (outcome := await answers.get()) is not None:
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
                slots.release()
        finally:
            tasks = [reader, *waiting.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, message: StreamClassifyRequest) -> StreamClassifyResponse:
        try:
            deadline_s = self._default_deadline_s
            if message.HasField("timeout"):
                deadline_s = validate.duration_ms(message.timeout, "timeout", most_days=1) / 1000
            response = await self._classify(message.request, deadline_s)
        except Exception as error:
            known = from_exception(error)
            if known is None:
                raise
            return _failed(message, known)
        return StreamClassifyResponse(correlation_id=message.correlation_id, response=response)

    async def _classify(self, request: ClassifyRequest, deadline_s: float) -> ClassifyResponse:
        validate.texts(request.texts)
        validate.options(request.options)
        manifest = await self._resolver.version(request.model)
        engine = await self._resolver.serving(manifest, request.engine)
        self._admission.classify(engine_family(engine))
        now_ms = int(time.time() * 1000)
        deadline_ms = now_ms + int(min(deadline_s, _LONGEST_DEADLINE_S) * 1000)
        reply = await self._online.call(
            OnlineRequest(
                id=secrets.token_hex(16),
                model=manifest.model,
                version=manifest.version,
                engine=engine,
                texts=request.texts,
                options=request.options,
                enqueued_ms=now_ms,
                deadline_ms=deadline_ms,
            )
        )
        return _response(reply)


def _response(reply: OnlineReply) -> ClassifyResponse:
    """The worker's answer; raises the error it stands for."""
    if reply.WhichOneof("outcome") == "response":
        return reply.response
    kind = by_reason().get(reply.error.reason, InternalError)
    passing = issubclass(kind, OverloadedError) or kind.code == "UNAVAILABLE"
    raise kind(reply.error.message, retry_after_s=_RETRY_S if passing else None)


def _failed(message: StreamClassifyRequest, error: LabelmillError) -> StreamClassifyResponse:
    return StreamClassifyResponse(
        correlation_id=message.correlation_id,
        error=ItemError(reason=error.reason, message=clipped(error.message, _MAX_MESSAGE_BYTES)),
    )


def _twice(message: StreamClassifyRequest) -> StreamClassifyResponse:
    return _failed(
        message,
        InvalidArgumentError.at(
            "correlation_id", "is that of a request still under way; use another"
        ),
    )
