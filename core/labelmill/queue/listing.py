"""Jobs by creation, newest first, page by page. Owns the order, not what a job holds."""

from __future__ import annotations

from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where a page ended: the last job on it."""

    created_ms: int
    id: str


async def newest(client: Any, key: str, after: Place | None, limit: int) -> list[Place]:
    """Up to `limit` members of the zset `key` that come after `after`, newest first.

    Jobs made in the same millisecond come in descending order of id, so that no page boundary
    skips one of them.
    """
    if after is None:
        return await _descending(client, key, "+inf", "-inf", limit)
    created, last = after
    twins = await _descending(client, key, str(created), str(created), None)
    older = await _descending(client, key, f"({created}", "-inf", limit)
    return ([twin for twin in twins if twin.id < last] + older)[:limit]


async def _descending(
    client: Any, key: str, highest: str, lowest: str, limit: int | None
) -> list[Place]:
    rows = await client.zrange(
        key,
        highest,
        lowest,
        desc=True,
        byscore=True,
        withscores=True,
        offset=None if limit is None else 0,
        num=limit,
    )
    return [Place(int(score), member.decode()) for member, score in rows]
