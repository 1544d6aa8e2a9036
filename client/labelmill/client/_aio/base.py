"""What the parts of the asyncio client stand on."""

from __future__ import annotations

from labelmill.client._aio.transport import AsyncTransport


class AsyncPart:
    """A group of the client's methods."""

    _transport: AsyncTransport
