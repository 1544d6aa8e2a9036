"""Whether the extras that a command needs are installed."""

from __future__ import annotations

from importlib.util import find_spec

from labelmill.errors import FailedPreconditionError

#: Modules beyond the light installation → extra that brings them.
_STACK = {
    "redis": "server",
    "grpc_health": "server",
    "zstandard": "server",
    "onnxruntime": "worker",
    "tokenizers": "worker",
}


def check_stack(command: str) -> None:
    """Raises FailedPreconditionError unless server and worker can run here."""
    missing = {module: extra for module, extra in _STACK.items() if find_spec(module) is None}
    if missing:
        raise FailedPreconditionError(
            f"`labelmill {command}` needs {', '.join(missing)}, which the light installation does "
            "not have; pip install 'labelmill[all]'"
        )
