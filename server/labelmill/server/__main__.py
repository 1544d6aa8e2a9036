"""`python -m labelmill.server`: one server until SIGTERM or ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from labelmill.errors import LabelmillError
from labelmill.server import log
from labelmill.server.app import Server
from labelmill.settings import ServerSettings

_log = logging.getLogger("labelmill.server")


class _Command(
    ServerSettings,
    cli_prog_name="labelmill server",
    cli_kebab_case=True,
    cli_implicit_flags=True,
):
    """Serves gRPC. Keeps nothing of its own; start as many as you like on one Redis.

    Each option is also an environment variable: --redis-url is LABELMILL_REDIS_URL.
    """


def main() -> int:
    """Returns the exit code: 0 after a drain, 1 when it could not start, 2 for a bad option."""
    try:
        settings = CliApp.run(_Command)
    except ValidationError as error:
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else "options"
            _say(f"error: {name}: is {problem['input']!r}; {problem['msg']}")
        return 2
    except SettingsError as error:
        return _refuse(str(error), code=2)
    if settings.log_level.upper() not in log.LEVELS:
        return _refuse(
            f"log_level: is {settings.log_level!r}; use one of {', '.join(log.LEVELS)}", 2
        )
    log.start(settings.log_level.upper())
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except LabelmillError as error:
        return _refuse(error.message)
    return 0


async def _serve(settings: ServerSettings) -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    server = Server(settings)
    starting = asyncio.create_task(server.start())
    told = asyncio.create_task(ending.wait())
    await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
    try:
        address = await starting
    except asyncio.CancelledError:
        await server.close()
        return
    except LabelmillError:
        await server.close()
        raise
    _say(f"labelmill server ready on {address}")
    await told
    _log.info("draining", extra=log.fields(drain_s=settings.drain_s))
    await server.drain()


def _refuse(message: str, code: int = 1) -> int:
    _say(f"error: {message}")
    return code


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
