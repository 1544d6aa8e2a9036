"""The machine and the libraries a benchmark ran on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from labelmill.worker import cpu

#: Distributions whose version changes the figures.
_LIBRARIES = (
    "labelmill",
    "onnxruntime",
    "openvino",
    "tokenizers",
    "torch",
    "transformers",
    "numpy",
)


def describe() -> dict[str, Any]:
    """CPU, usable cores, instruction sets, memory and versions; no name of the machine."""
    return {
        "cpu": cpu.cpu_name(),
        "usable_cores": cpu.usable_cores(),
        "instruction_sets": cpu.instruction_sets(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": libraries(),
    }


def libraries() -> dict[str, str]:
    """Versions of the libraries that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
