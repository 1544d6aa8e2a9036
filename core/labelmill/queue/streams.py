"""Answers of XREAD and XREADGROUP in one form, whatever protocol the connection speaks."""

from __future__ import annotations

from typing import Any

#: An entry: its id and its fields.
Entry = tuple[bytes, dict[bytes, bytes]]


def entries_of(reply: Any) -> list[tuple[bytes, list[Entry]]]:
    """(stream, entries) pairs out of a RESP2 list or a RESP3 map; empty for a time-out."""
    if not reply:
        return []
    if isinstance(reply, dict):
        return [
            (stream, entries[0] if entries and isinstance(entries[0], list) else entries)
            for stream, entries in reply.items()
        ]
    return [(stream, entries) for stream, entries in reply]
