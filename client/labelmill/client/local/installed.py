"""Whether the extras that a command needs are installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from labelmill.errors import FailedPreconditionError

#: Modules beyond the light installation that the server and the worker import.
_STACK = ("redis", "grpc_health", "zstandard", "onnxruntime", "tokenizers", "psutil")

#: Modules that training, and the contenders of a benchmark, import besides.
_TRAINING = ("torch", "transformers", "onnx")


def check_stack(command: str) -> None:
    """Raises FailedPreconditionError unless server and worker can run here."""
    _check(command, _STACK)


def check_everything(command: str) -> None:
    """Raises FailedPreconditionError unless training and benchmarks can run here, too."""
    _check(command, (*_STACK, *_TRAINING))


def _check(command: str, modules: Iterable[str]) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise FailedPreconditionError(
            f"`labelmill {command}` needs {', '.join(missing)}, which this installation does not "
            "have; pip install 'labelmill[all]'"
        )
