"""One colour a contender, the same in every plot and every page."""

from __future__ import annotations

#: In the order of the series of style.css: a hue a runtime, light and dark within it.
_KNOWN = (
    "hf-pipeline-fp32",
    "hf-pipeline-bf16",
    "ort-fp32",
    "ort-dynamic-int8",
    "onnx-int8",
    "onnx-fp32",
    "openvino-int8",
    "torch-fp32",
    "torch-bf16",
)


def colour(name: str) -> str:
    """The CSS colour of a contender; what a later release adds shares the last series."""
    series = _KNOWN.index(name) if name in _KNOWN else len(_KNOWN)
    return f"var(--series-{series})"
