"""One JSON object a line on stderr. Owns the form; what is logged never holds a caller's text."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

#: Levels of --log-level.
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def start(level: str) -> None:
    """Sends everything logged from `level` up to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # asyncio names slow callbacks and sockets at DEBUG; nobody asked for that.
    logging.getLogger("asyncio").setLevel(max(root.level, logging.INFO))


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """For ``extra=``: values that get keys of their own."""
    return {"fields": values}


class JsonLines(logging.Formatter):
    """time, level, logger, message and the fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            line["exception"] = kind.__name__
            line["traceback"] = frames(trace)
        return json.dumps(line, ensure_ascii=False, default=str)


def frames(trace: TracebackType | None) -> list[str]:
    """Where an exception passed, without its message, which may quote a caller's text."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(trace)
    ]
