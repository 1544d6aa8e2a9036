from __future__ import annotations

import json
import logging
import sys

from labelmill.server.log import JsonLines, fields


def test_an_exception_is_logged_without_its_message() -> None:
    secret = "the caller's text"
    try:
        raise ValueError(secret)
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "f", 1, "defect", (), sys.exc_info())
    record.__dict__.update(fields(method="/m", ms=1.5))
    text = JsonLines().format(record)
    line = json.loads(text)
    assert secret not in text
    assert (line["level"], line["method"], line["ms"]) == ("ERROR", "/m", 1.5)
    assert line["exception"] == "ValueError"
    assert "test_log.py" in line["traceback"][0]
