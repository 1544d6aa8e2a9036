"""Finds the linear layers of a graph: MatMuls by a constant matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


@dataclass(frozen=True)
class LinearGroup:
    """Linear layers that read the same activations, e.g. query, key and value."""

    source: ir.Value
    nodes: list[ir.Node]

    @property
    def name(self) -> str:
        """Name of the activations."""
        return self.source.name or ""

    @property
    def weights(self) -> list[NDArray[np.float32]]:
        """The layers' matrices, each (inputs, outputs)."""
        return [constant(node.inputs[1]) for node in self.nodes]


def linear_groups(model: ir.Model) -> list[LinearGroup]:
    """All linear layers, by what they read, in the order of the graph.

    Left out are products of two activations, as within attention, and Gemm: that is the head,
    which sees one vector a text.
    """
    groups: dict[str, LinearGroup] = {}
    for node in model.graph:
        if node.op_type != "MatMul" or not is_constant(node.inputs[1]):
            continue
        source = node.inputs[0]
        if source is None or is_constant(source) or len(constant(node.inputs[1]).shape) != 2:
            continue
        groups.setdefault(source.name or "", LinearGroup(source, [])).nodes.append(node)
    return list(groups.values())


def bias_of(node: ir.Node) -> tuple[ir.Node, ir.Value | None]:
    """The last node of a linear layer, and its bias: an Add of a constant, where there is one."""
    uses = tuple(node.outputs[0].uses())
    if len(uses) == 1 and uses[0].node.op_type == "Add":
        bias = uses[0].node.inputs[1 - uses[0].idx]
        if is_constant(bias) and constant(bias).ndim == 1:
            return uses[0].node, bias
    return node, None


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is known when the graph is loaded."""
    return value is not None and value.const_value is not None


def constant(value: ir.Value | None) -> NDArray[np.float32]:
    """The array of a value that `is_constant`."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def add_constant(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    """Stores an array in the graph under `name`, or a free name like it."""
    free, number = name, 1
    while free in graph.initializers:
        free, number = f"{name}_{number}", number + 1
    value = ir.Value(name=free, const_value=ir.tensor(array, name=free))
    graph.register_initializer(value)
    return value
