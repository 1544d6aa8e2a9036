"""`python -m labelmill.worker`: one worker until SIGTERM or ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError
from redis.exceptions import RedisError

from labelmill.errors import LabelmillError
from labelmill.queue.connection import unavailable
from labelmill.settings import WorkerSettings
from labelmill.worker.app import run


class _Command(WorkerSettings, cli_prog_name="labelmill worker", cli_kebab_case=True):
    """Scores texts and trains models. Pulls its work from Redis; start as many as you like."""


def main() -> int:
    """Returns the exit code: 0 after a drain, 1 when it could not start."""
    # Tokenizing shares the cores with compute; a pool of its own only adds contention.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        settings = CliApp.run(_Command)
    except (ValidationError, SettingsError) as error:
        return _refuse(str(error))
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        run(settings, ending)
    except LabelmillError as error:
        return _refuse(error.message)
    except RedisError as error:
        return _refuse(unavailable(settings.redis_url, error).message)
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
