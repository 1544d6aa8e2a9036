"""Drops the work of the last layer on tokens that the classifier never reads.

Classifiers of the BERT family read one token of the last layer, yet its linear layers after the
attention, three quarters of the layer, run on all tokens. Selecting the token first is the same
function, an eighth cheaper for six layers.
"""

from __future__ import annotations

import onnx_ir as ir

from labelmill.worker.export.linear import constant, is_constant

_UNARY = {"Gelu", "Erf", "Tanh", "Relu", "Sigmoid", "Sqrt", "Neg", "Identity"}
_BINARY = {"Add", "Sub", "Mul", "Div"}


def select_first(graph: ir.Graph) -> int:
    """Moves, in place, selections of one token before all that treats tokens by themselves.

    Args:
        graph: as traced, with the shapes of its values, for tokens are known by their axis.

    Returns:
        How many nodes now see one token instead of all.
    """
    moved = 0
    for node in list(graph):
        if is_selection(node):
            moved += _move(graph, node)
    return moved


def is_selection(node: ir.Node, axis: int = 1) -> bool:
    """Whether the node takes one token of three axes, of which `axis` is the tokens'."""
    if node.op_type != "Gather" or node.attributes.get_int("axis", 0) != axis:
        return False
    source, index = node.inputs
    return _rank(source) == 3 and is_constant(index) and constant(index).ndim == 0


def _move(graph: ir.Graph, selection: ir.Node) -> int:
    source, index = selection.inputs
    assert source is not None
    assert source.shape is not None
    tokens = source.shape[1]
    takers = {selection: None}
    for node in reversed(list(graph)):
        wanted = [use.node for value in node.outputs for use in value.uses()]
        if wanted and all(user in takers for user in wanted) and by_token(node, tokens):
            takers[node] = None
    del takers[selection]
    selected: dict[ir.Value, ir.Value] = {}
    for node in takers:
        for position, value in enumerate(node.inputs):
            if value is None or is_constant(value) or value.producer() in takers:
                continue
            if value not in selected:
                take = ir.node("Gather", [value, index], attributes={"axis": 1})
                graph.insert_before(node, take)
                selected[value] = take.outputs[0]
            node.replace_input_with(position, selected[value])
    if takers:
        selection.outputs[0].replace_all_uses_with(source)
        graph.remove(selection, safe=True)
        graph.sort()
    return len(takers)


def by_token(node: ir.Node, tokens: ir.SymbolicDim | int) -> bool:
    """Whether each token of the node's output depends on that token of its inputs alone.

    Args:
        node: any node.
        tokens: length of the second of three axes.
    """
    activations = [value for value in node.inputs if value is not None and not is_constant(value)]
    for value in activations:
        if _rank(value) != 3 or value.shape is None or value.shape[1] != tokens:
            return False
    constants = [value for value in node.inputs if value is not None and is_constant(value)]
    if node.op_type in _BINARY:
        return all(constant(value).ndim <= 1 for value in constants)
    if node.op_type == "MatMul":
        return activations == [node.inputs[0]] and constant(node.inputs[1]).ndim == 2
    if node.op_type == "LayerNormalization":
        return activations == [node.inputs[0]] and node.attributes.get_int("axis", -1) == -1
    return node.op_type in _UNARY


def _rank(value: ir.Value | None) -> int:
    return -1 if value is None or value.shape is None else len(value.shape)
