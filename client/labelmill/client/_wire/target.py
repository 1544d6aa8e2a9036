"""Where the server is and how the channel to it behaves."""

from __future__ import annotations

import json
import os
import re

from labelmill.errors import InvalidArgumentError

#: Where a server listens unless told otherwise; the same as labelmill.settings.DEFAULT_ADDRESS,
#: which is not imported because the settings classes would triple the client's import time.
DEFAULT_ADDRESS = "127.0.0.1:50051"

#: Seconds a unary call may take, retries included.
DEFAULT_TIMEOUT_S = 30.0

#: Seconds that a watch, an upload or a stream of results goes on reconnecting in vain.
DEFAULT_RECONNECT_TIMEOUT_S = 60.0

#: Largest message in either direction, in bytes; the server's default is the same.
MAX_MESSAGE_BYTES = 32 * 1024 * 1024

_OPTIONS: list[tuple[str, object]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A dead peer is noticed within 40 s while a call is under way.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A server that restarts is found again within 2 s; the last is the time for one connect.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Connections are not shared between clients, so closing one closes its own.
    ("grpc.use_local_subchannel_pool", 1),
    # A name with several addresses gets its calls spread over all of them.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
]

_LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\]):|unix:")
_HOST_PORT = re.compile(r"(?P<host>[^:\s]+|\[[^\]\s]+\]):(?P<port>\d{1,5})")
_SCHEME = re.compile(r"(dns|unix|unix-abstract|ipv4|ipv6|vsock|xds):\S+")


def resolve_address(address: str | None) -> str:
    """`address`, or the one in LABELMILL_ADDRESS, or the default.

    Raises:
        InvalidArgumentError: it is neither host:port nor a gRPC target such as dns:///name:port.
    """
    address = address or os.environ.get("LABELMILL_ADDRESS") or DEFAULT_ADDRESS
    match = _HOST_PORT.fullmatch(address)
    if match and int(match["port"]) <= 65535:
        return address
    if _SCHEME.fullmatch(address) and not match:
        return address
    raise InvalidArgumentError.at(
        "address", f"{address!r} is no address; use host:port, e.g. {DEFAULT_ADDRESS}"
    )


def channel_options(address: str) -> list[tuple[str, object]]:
    """Options of a channel to `address`, every one of them explicit."""
    if _LOOPBACK.match(address):
        # A proxy from the environment would be asked to reach this very machine.
        return [*_OPTIONS, ("grpc.enable_http_proxy", 0)]
    return list(_OPTIONS)
