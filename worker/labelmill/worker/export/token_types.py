"""Folds token types into positions: a classifier sees one segment, so all its tokens are type 0.

As traced, the types are looked up and added for every batch, by half a dozen operators. Where they
are provably zeros, their row of the table is added to every position once, here.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from labelmill.worker.export.linear import add_constant, constant, is_constant

#: Operators whose output holds nothing but elements of their first input.
_SELECTING = {"Gather", "GatherElements", "Expand", "Slice", "Reshape", "Unsqueeze", "Squeeze"}


def fold_token_types(graph: ir.Graph) -> bool:
    """Rewrites, in place, word + type + position to word + position; says whether it did."""
    for node in graph:
        if node.op_type != "Add":
            continue
        words, types = _without_types(node.inputs[0]), _types(node.inputs[1])
        if words is None or types is None:
            continue
        uses = tuple(node.outputs[0].uses())
        if len(uses) != 1 or uses[0].node.op_type != "Add":
            continue
        position = uses[0].node.inputs[1 - uses[0].idx]
        lookup = position.producer() if position is not None else None
        if position is None or lookup is None or not _is_lookup(lookup):
            continue
        table = lookup.inputs[0]
        if len(tuple(position.uses())) != 1:
            continue
        folded = constant(table) + constant(types.inputs[0])[0]
        name = f"{table.name}_with_type" if table is not None else "positions"
        lookup.replace_input_with(0, add_constant(graph, name, folded.astype(np.float32)))
        node.outputs[0].replace_all_uses_with(words)
        return True
    return False


def _without_types(value: ir.Value | None) -> ir.Value | None:
    """The value, unless it is a lookup of token types itself."""
    return None if value is None or _types(value) is not None else value


def _types(value: ir.Value | None) -> ir.Node | None:
    """The lookup in a table of rows for each type, if all types are 0."""
    node = value.producer() if value is not None else None
    if node is None or not _is_lookup(node) or not _is_zero(node.inputs[1]):
        return None
    return node


def _is_lookup(node: ir.Node) -> bool:
    return (
        node.op_type == "Gather"
        and node.attributes.get_int("axis", 0) == 0
        and is_constant(node.inputs[0])
        and constant(node.inputs[0]).ndim == 2
    )


def _is_zero(value: ir.Value | None) -> bool:
    while value is not None and not is_constant(value):
        node = value.producer()
        if node is None or node.op_type not in _SELECTING:
            return False
        value = node.inputs[0]
    return value is not None and not constant(value).any()
