"""TCP ports on loopback: free ones, and whether one is taken."""

from __future__ import annotations

import socket

from labelmill.errors import FailedPreconditionError

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def check_free(port: int) -> None:
    """Raises FailedPreconditionError when somebody listens on `port`."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise FailedPreconditionError(
                f"port: {HOST}:{port} cannot be used ({error.strerror}); another `labelmill up` "
                "or server may run there: stop it, or choose another with --port"
            ) from error
