"""What the parts of the blocking client stand on."""

from __future__ import annotations

from labelmill.client._sync.transport import Transport


class Part:
    """A group of the client's methods."""

    _transport: Transport
