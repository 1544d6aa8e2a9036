"""Lets attention read its heads where the projections left them, without copying them first.

As traced, queries, keys, values and the result are transposed in every layer, a third of the time
of an attention. ONNX Runtime's FusedMatMul can step over the batch within a row, but only where
tokens come first: (tokens, batch, channels). So the encoder is laid out that way, which is one
transposition for the whole of it; layers that treat tokens by themselves do not notice. Where
only one token of the last attention is read, only that one asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from labelmill.worker.export.attention import Attention, find_attentions
from labelmill.worker.export.first_token import by_token, is_selection
from labelmill.worker.export.integer import CONTRIB_DOMAIN, CONTRIB_VERSION
from labelmill.worker.export.linear import add_constant, is_constant

#: (batch, heads, tokens, channels) to (tokens, batch, heads, channels).
_TOKENS_FIRST = (2, 0, 1, 3)


def lay_out_tokens_first(model: ir.Model) -> int:
    """Rewrites, in place, an encoder to (tokens, batch, channels).

    Args:
        model: as traced, with the shapes of its values, batch and tokens as the first two axes.

    Returns:
        How many attentions it has; 0 when the graph is left as it was, because something in it
        is none that we know.
    """
    graph = model.graph
    attentions = find_attentions(graph)
    if not attentions:
        return 0
    plan = _plan(graph, attentions)
    if plan is None:
        return 0
    _transpose(graph, plan.source)
    for selection in plan.selections:
        selection.attributes["axis"] = ir.AttrInt64("axis", 0)
    for attention in attentions:
        _rewrite(graph, attention)
    model.opset_imports[CONTRIB_DOMAIN] = CONTRIB_VERSION
    graph.sort()
    return len(attentions)


@dataclass
class _Plan:
    #: The value to transpose.
    source: ir.Value
    #: Nodes that take one token of what then has tokens first.
    selections: list[ir.Node] = field(default_factory=list)


def _plan(graph: ir.Graph, attentions: list[Attention]) -> _Plan | None:
    """What follows from transposing what the first attention reads; None if it cannot be."""
    source = _root(attentions[0].query)
    if any(_root(value) is not source for value in (attentions[0].key, attentions[0].value)):
        return None
    if source.producer() is None:
        return None
    plan, flipped = _Plan(source), {source}
    inside = {node: attention for attention in attentions for node in attention.nodes}
    for node in graph:
        if node in inside:
            attention = inside[node]
            if attention.context in node.outputs:
                ends = (attention.query, attention.key, attention.value)
                if not all(value in flipped for value in ends):
                    return None
                flipped.add(attention.context)
            continue
        read = [value for value in node.inputs if value is not None and value in flipped]
        if not read:
            continue
        if is_selection(node):
            plan.selections.append(node)
            continue
        assert read[0].shape is not None
        others = {value for value in node.inputs if value is not None and not is_constant(value)}
        if others != set(read) or not by_token(node, read[0].shape[1]):
            return None
        flipped.update(node.outputs)
    outputs_flipped = any(value in flipped for value in graph.outputs)
    return None if outputs_flipped else plan


def _root(value: ir.Value) -> ir.Value:
    """What a linear layer reads; the value itself where none made it."""
    node = value.producer()
    while node is not None and node.op_type in ("Add", "MatMul") and is_constant(node.inputs[1]):
        source = node.inputs[0]
        assert source is not None
        if node.op_type == "MatMul":
            return source
        node = source.producer()
    return value


def _transpose(graph: ir.Graph, source: ir.Value) -> None:
    turn = ir.node("Transpose", [source], attributes={"perm": [1, 0, 2]})
    producer = source.producer()
    assert producer is not None
    graph.insert_after(producer, turn)
    for use in tuple(source.uses()):
        if use.node is not turn:
            use.node.replace_input_with(use.idx, turn.outputs[0])


def _rewrite(graph: ir.Graph, attention: Attention) -> None:
    query = attention.query
    one_token = _only_selected(attention.context)
    if one_token is not None:
        query = _query_of(graph, attention.query, one_token)
    before = next(iter(attention.context.uses())).node
    size = attention.head_size
    heads = add_constant(graph, "split_heads", np.array([0, 0, -1, size], dtype=np.int64))
    join = add_constant(graph, "join_heads", np.array([0, 0, -1], dtype=np.int64))

    def split(value: ir.Value) -> ir.Node:
        return ir.node("Reshape", [value, heads])

    q, k, v = split(query), split(attention.key), split(attention.value)
    scores = ir.node(
        "FusedMatMul",
        [q.outputs[0], k.outputs[0]],
        attributes={
            "alpha": attention.scale,
            "transA": 0,
            "transB": 1,
            "transBatchA": 1,
            "transBatchB": 1,
        },
        domain=CONTRIB_DOMAIN,
    )
    masked = ir.node("Add", [scores.outputs[0], attention.mask])
    weights = ir.node("Softmax", masked.outputs, attributes={"axis": -1})
    weighted = ir.node(
        "FusedMatMul",
        [weights.outputs[0], v.outputs[0]],
        attributes={"alpha": 1.0, "transA": 0, "transB": 0, "transBatchA": 0, "transBatchB": 1},
        domain=CONTRIB_DOMAIN,
    )
    back = ir.node("Transpose", weighted.outputs, attributes={"perm": list(_TOKENS_FIRST)})
    joined = ir.node("Reshape", [back.outputs[0], join])
    graph.insert_before(before, [q, k, v, scores, masked, weights, weighted, back, joined])
    attention.context.replace_all_uses_with(joined.outputs[0])
    graph.remove(attention.nodes, safe=True)


def _only_selected(context: ir.Value) -> ir.Node | None:
    """The selection that alone reads the context."""
    uses = tuple(context.uses())
    return uses[0].node if len(uses) == 1 and is_selection(uses[0].node, axis=0) else None


def _query_of(graph: ir.Graph, query: ir.Value, selection: ir.Node) -> ir.Value:
    """The query of the selected token alone, (1, batch, channels); the selection then takes it."""
    source = _root(query)
    index = selection.inputs[1]
    assert index is not None
    assert index.const_value is not None
    token = add_constant(graph, "asking_token", index.const_value.numpy().reshape(1))
    take = ir.node("Gather", [source, token], attributes={"axis": 0})
    reader = query.producer()
    while reader is not None and reader.inputs[0] is not source:
        producer = reader.inputs[0]
        reader = producer.producer() if producer is not None else None
    if reader is None or len(tuple(reader.outputs[0].uses())) != 1:
        return query
    graph.insert_before(reader, take)
    reader.replace_input_with(0, take.outputs[0])
    first = add_constant(graph, "first", np.array(0, dtype=np.int64))
    selection.replace_input_with(1, first)
    return query
