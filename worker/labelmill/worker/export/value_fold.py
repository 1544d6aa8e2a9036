"""Smoothing of attention's output at no cost: the value projection does it.

Attention mixes tokens, never channels, so dividing a channel of its output is dividing that
output of the value projection, whose scales and bias are constants anyway.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from labelmill.worker.export.linear import LinearGroup, bias_of, constant, is_constant
from labelmill.worker.export.smoothquant import LinearPlan

#: What stands between the value projection and the product with the attention weights, and
#: between that product and the layer that reads it: copies and selections, all by channel.
_BY_CHANNEL = {"Reshape", "Transpose", "Gather"}


def fold_smoothing(groups: list[LinearGroup], plans: list[LinearPlan]) -> list[LinearPlan]:
    """Moves the division of layers that read attention into the value projections.

    Args:
        groups: all linear layers; fp32 weights and biases of those concerned change in place.
        plans: one each.

    Returns:
        The plans anew, one each.
    """
    folded = list(plans)
    of_node = {node: place for place, group in enumerate(groups) for node in group.nodes}
    for place, group in enumerate(groups):
        smoothing = folded[place].smoothing
        value = _value_projection(group)
        if smoothing is None or value not in of_node:
            continue
        source = of_node[value]
        columns = _columns(groups[source], value)
        folded[source] = folded[source].divided(columns, smoothing)
        folded[place] = folded[place].read_smoothed()
        for weights in [value.inputs[1], bias_of(value)[1]]:
            _scale(weights, np.float32(1) / smoothing)
        for node in group.nodes:
            _scale(node.inputs[1], smoothing[:, None])
    return folded


def _scale(value: ir.Value | None, factors: NDArray[np.float32]) -> None:
    if value is not None:
        value.const_value = ir.tensor(constant(value) * factors, name=value.name)


def _value_projection(group: LinearGroup) -> ir.Node | None:
    """The MatMul whose outputs are the channels of what the group reads, if it reads attention."""
    if {use.node for use in group.source.uses()} != set(group.nodes):
        return None
    weighted = _behind(group.source)
    if weighted is None or weighted.op_type not in ("MatMul", "FusedMatMul"):
        return None
    if is_constant(weighted.inputs[1]):
        return None
    last = _behind(weighted.inputs[1])
    if last is not None and last.op_type == "Add" and is_constant(last.inputs[1]):
        last = _behind(last.inputs[0])
    return last


def _behind(value: ir.Value | None) -> ir.Node | None:
    """What made the value, copies and selections aside; None when others read it on the way."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in _BY_CHANNEL:
        value = node.inputs[0]
        if value is None or len(tuple(value.uses())) != 1:
            return None
        node = value.producer()
    return node


def _columns(group: LinearGroup, wanted: ir.Node) -> slice:
    start = 0
    for node, weight in zip(group.nodes, group.weights, strict=True):
        if node is wanted:
            return slice(start, start + weight.shape[1])
        start += weight.shape[1]
    raise ValueError("the layer is none of the group")
