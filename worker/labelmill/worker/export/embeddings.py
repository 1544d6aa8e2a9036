"""The word embeddings as INT8 rows with a scale each.

A DequantizeLinear before the Gather would expand the whole table on every call; gathering the
rows first touches only those that the batch names, and a scale a row keeps agreement that one
scale a table loses.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from labelmill.worker.export.linear import add_constant, constant, is_constant

#: Smaller tables (positions, token types) stay fp32: they are under 2% of a model's bytes, and
#: rows of positions differ so much in range that INT8 costs agreement.
_MIN_ROWS = 1024

_INT8_MAX = 127


def quantize_embeddings(graph: ir.Graph) -> int:
    """Rewrites, in place, every lookup in a large float table; returns how many there were."""
    lookups = [node for node in graph if _is_lookup(node)]
    for node in lookups:
        _rewrite(graph, node)
    return len(lookups)


def _is_lookup(node: ir.Node) -> bool:
    if node.op_type != "Gather" or node.attributes.get_int("axis", 0) != 0:
        return False
    if not is_constant(node.inputs[0]) or is_constant(node.inputs[1]):
        return False
    table = constant(node.inputs[0])
    return table.ndim == 2 and table.dtype == np.float32 and len(table) >= _MIN_ROWS


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    table, ids = constant(node.inputs[0]), node.inputs[1]
    name = node.inputs[0].name if node.inputs[0] is not None else None
    peak = np.abs(table).max(axis=1, keepdims=True)
    scales = np.where(peak > 0, peak / _INT8_MAX, 1).astype(np.float32)
    levels = np.rint(table / scales).astype(np.int8)
    rows = ir.node("Gather", [add_constant(graph, f"{name}_int8", levels), ids])
    scale = ir.node("Gather", [add_constant(graph, f"{name}_scales", scales), ids])
    cast = ir.node("Cast", rows.outputs, attributes={"to": ir.DataType.FLOAT})
    product = ir.node("Mul", [cast.outputs[0], scale.outputs[0]])
    graph.insert_before(node, [rows, scale, cast, product])
    node.outputs[0].replace_all_uses_with(product.outputs[0])
    graph.remove(node, safe=True)
