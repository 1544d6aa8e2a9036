"""Keeps graphs small and silent: drops what no node reads and what only the exporter needed."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def clean(model: ir.Model) -> None:
    """Removes, in place, dead nodes, unused initializers and the exporter's annotations.

    ONNX Runtime warns about every unused initializer at every load. The annotations hold stack
    traces with the paths of the machine that exported, and types of values that a later rewrite
    would have to keep true.
    """
    for step in (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.ClearMetadataAndDocStringPass(),
    ):
        step(model)
    model.metadata_props.clear()
    graph = model.graph
    for value in [*graph.inputs, *graph.outputs, *graph.initializers.values()]:
        value.metadata_props.clear()
    for node in graph:
        for value in node.outputs:
            value.metadata_props.clear()
            if not value.is_graph_output():
                value.type = value.shape = None
