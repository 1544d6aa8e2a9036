"""Imports gRPC with the log of its C core at errors only.

By default the core writes a line to stderr, past Python's logging, for every connection that a
restarting server closes. It reads GRPC_VERBOSITY once, when it is imported; whoever sets that
variable, or imports grpc first, decides otherwise.
"""

from __future__ import annotations

import os

_VARIABLE = "GRPC_VERBOSITY"

if _VARIABLE in os.environ:
    import grpc
else:
    os.environ[_VARIABLE] = "ERROR"
    try:
        import grpc
    finally:
        del os.environ[_VARIABLE]

__all__ = ["grpc"]
