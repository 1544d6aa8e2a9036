"""OpenVINO itself, imported so that it reports to nobody. Everything of it is taken from here."""

from __future__ import annotations

import sys

# `import openvino` reports itself to Google Analytics through this package, and writes into the
# home directory, unless it cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
from openvino import opset13  # noqa: E402
from openvino.frontend import (  # noqa: E402
    FrontEndManager,
    GeneralFailure,
    OpConversionFailure,
)
from openvino.frontend.onnx import ConversionExtension  # noqa: E402

__all__ = [
    "ConversionExtension",
    "FrontEndManager",
    "GeneralFailure",
    "OpConversionFailure",
    "openvino",
    "opset13",
]
