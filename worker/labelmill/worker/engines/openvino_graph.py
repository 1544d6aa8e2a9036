"""What OpenVINO needs to read our graphs: operators it lacks, and widths it does not find.

The function that a graph computes stays the same.
"""

from __future__ import annotations

from typing import Any

from labelmill.worker.engines.openvino_library import ConversionExtension, openvino, opset13

#: Operators that work element by element on two inputs.
_BINARY = {"Add", "Subtract", "Multiply", "Divide"}


def _fused_matmul(node: Any) -> list[Any]:
    """FusedMatMul, whose inputs may have the batch behind the rows (``transBatchA`` and B)."""
    factors = (
        _batch_first(node.get_input(index))
        if node.get_attribute(batch, 0)
        else node.get_input(index)
        for index, batch in enumerate(("transBatchA", "transBatchB"))
    )
    transposed = (bool(node.get_attribute(name, 0)) for name in ("transA", "transB"))
    product = opset13.matmul(*factors, *transposed)
    alpha = node.get_attribute("alpha", 1.0)
    if alpha != 1.0:
        product = opset13.multiply(product, opset13.constant(alpha, openvino.Type.f32))
    return [product.output(0)]


def _batch_first(value: Any) -> Any:
    """(rows, batch, heads, channels) to (batch, heads, rows, channels)."""
    rank = len(value.get_partial_shape())
    order = opset13.constant([*range(1, rank - 1), 0, rank - 1], openvino.Type.i64)
    return opset13.transpose(value, order).output(0)


#: For operators that OpenVINO's ONNX reader has not, or not with all their attributes.
CONVERSIONS = (ConversionExtension("FusedMatMul", "com.microsoft", _fused_matmul),)


def fix_widths(model: Any) -> int:
    """States, in place, the number of channels wherever a vector of constants tells it.

    OpenVINO does not know how many channels a Reshape to -1 leaves. There a factor a channel that
    is multiplied just before quantizing was folded into the quantizer, which then used the factor
    of the first channel for all (OpenVINO 2026.4, MiniLM with smoothed outputs of attention: the
    self-test failed).

    Returns:
        How many values got a fixed number of channels.
    """
    fixed = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() not in _BINARY:
            continue
        for index in (0, 1):
            value, other = node.input_value(index), node.input_value(1 - index)
            channels = _constant_width(other)
            if channels > 1 and _has_unknown_width(value):
                node.input(index).replace_source_output(_with_width(value, channels))
                fixed += 1
    model.validate_nodes_and_infer_types()
    return fixed


def _constant_width(value: Any) -> int:
    node = value.get_node()
    if node.get_type_name() != "Constant" or not node.shape:
        return 0
    return int(node.shape[-1])


def _has_unknown_width(value: Any) -> bool:
    shape = value.get_partial_shape()
    return bool(shape.rank.is_static and len(shape) and shape[len(shape) - 1].is_dynamic)


def _with_width(value: Any, channels: int) -> Any:
    """A Reshape that changes nothing: 0 keeps a dimension."""
    rank = len(value.get_partial_shape())
    target = opset13.constant([0] * (rank - 1) + [channels], openvino.Type.i64)
    return opset13.reshape(value, target, special_zero=True).output(0)
