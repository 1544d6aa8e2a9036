"""Feeds a scoring job from an iterable or an async iterable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from labelmill.client._aio.transport import AsyncTransport
from labelmill.client._wire import jobs, upload
from labelmill.client._wire.jobs import Job
from labelmill.client._wire.upload import Item
from labelmill.errors import LabelmillError
from labelmill.v1 import scoring_pb2 as pb

#: Texts, and seconds, that one turn of a thread takes from an iterable.
_BLOCK_ITEMS = 1024
_BLOCK_S = 0.1


async def upload_items(
    transport: AsyncTransport,
    job_id: str,
    items: AsyncIterator[Item],
    *,
    offset: int = 0,
    seal: bool = True,
    timeout_s: float | None = None,
) -> Job:
    """Sends `items` as the job's items from `offset` on; see ``AsyncClient.upload_items``."""
    backoff = transport.patient(timeout_s, wait_out_overload=True)

    async def send(message: pb.UploadScoringItemsRequest) -> Job:
        async def once() -> AsyncIterator[pb.UploadScoringItemsRequest]:
            yield message

        try:
            response = await transport.upload(upload.UPLOAD, once, backoff=backoff)
        except LabelmillError as error:
            if upload.maybe_sealed(error, message, backoff.failures):
                job = await transport.unary(jobs.get(job_id))
                if upload.is_sealed_by(job, message):
                    return job
            raise
        return jobs.parse_job(response.job)

    packer = upload.Packer(job_id, offset)
    async for item in items:
        if (message := packer.add(item)) is not None:
            await send(message)
    if seal:
        return await send(packer.seal())
    if (message := packer.flush()) is not None:
        return await send(message)
    return await transport.unary(jobs.get(job_id))


async def async_items(
    texts: Iterable[str] | AsyncIterable[str], ids: Iterable[str] | None
) -> AsyncIterator[Item]:
    """Pairs texts with ids; an ordinary iterable is read in a thread, so it may block."""
    if not isinstance(texts, AsyncIterable):
        pairs = upload.items(texts, ids)
        while block := await asyncio.to_thread(_take, pairs):
            for item in block:
                yield item
        return
    pairing = upload.Pairing(ids)
    async for text in texts:
        yield pairing.pair(text)
    pairing.finish()


def _take(items: Iterator[Item]) -> list[Item]:
    block: list[Item] = []
    until = time.monotonic() + _BLOCK_S
    for item in items:
        block.append(item)
        if len(block) >= _BLOCK_ITEMS or time.monotonic() >= until:
            break
    return block
