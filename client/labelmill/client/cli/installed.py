"""Whether what a command of this machine needs beyond the light installation is there."""

from __future__ import annotations

from importlib.util import find_spec

from labelmill.client.cli.server import check_extra
from labelmill.errors import FailedPreconditionError

#: Modules of the extra `train` that training and benchmarks cannot do without.
_TRAINING = ("torch", "transformers", "onnx", "onnxscript", "sklearn")


def check_stack() -> None:
    """Raises FailedPreconditionError unless server and worker can run here."""
    check_extra("server")
    check_extra("worker")


def check_everything() -> None:
    """Raises FailedPreconditionError unless training and benchmarks can run here, too."""
    check_stack()
    missing = [name for name in _TRAINING if find_spec(name) is None]
    if missing:
        raise FailedPreconditionError(
            f"this needs packages that are not installed ({', '.join(missing)}); "
            "pip install 'labelmill[all]'"
        )
