"""Cancellation that redis-py loses.

redis-py sends through `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that
arrives just as the send completes (python/cpython#86296). A loop over Redis would run on for ever.
"""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raises CancelledError when the present task was cancelled and has not noticed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
