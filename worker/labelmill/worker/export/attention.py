"""Finds the self-attention of encoders in a traced graph. Owns the pattern, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from labelmill.worker.export.linear import constant, is_constant

#: (batch, tokens, heads, channels) to (batch, heads, tokens, channels), and for keys transposed.
_HEADS_FIRST, _KEYS_LAST = (0, 2, 1, 3), (0, 2, 3, 1)


@dataclass(frozen=True)
class Attention:
    """softmax(scale · Q Kᵀ + mask) V over heads, as the tracer writes it."""

    #: Projections, each (batch, tokens, channels).
    query: ir.Value
    key: ir.Value
    value: ir.Value
    #: Added to the scores, (batch, 1, 1, tokens).
    mask: ir.Value
    scale: float
    #: Channels of one head.
    head_size: int
    #: All heads side by side, (batch, tokens, channels).
    context: ir.Value
    #: Everything between the projections and the context, in no order.
    nodes: frozenset[ir.Node]


def find_attentions(graph: ir.Graph) -> list[Attention] | None:
    """Every self-attention, in the order of the graph; None when a softmax is none that we know."""
    found = []
    for node in graph:
        if node.op_type != "Softmax":
            continue
        attention = _match(node)
        if attention is None:
            return None
        found.append(attention)
    return found


class _MismatchError(Exception):
    pass


def _match(softmax: ir.Node) -> Attention | None:
    try:
        return _Matcher().match(softmax)
    except _MismatchError:
        return None


class _Matcher:
    def __init__(self) -> None:
        self._seen: set[ir.Node] = set()

    def match(self, softmax: ir.Node) -> Attention:
        self._expect(softmax.attributes.get_int("axis", -1) in (-1, 3))
        self._seen.add(softmax)
        masked = self._producer(softmax.inputs[0], "Add")
        scores, mask = masked.inputs
        if _rank_one_between(scores):
            scores, mask = mask, scores
        self._expect(_rank_one_between(mask))
        product, scale = self._scaled(scores)
        query, head_size = self._heads(product.inputs[0], _HEADS_FIRST)
        key, _ = self._heads(product.inputs[1], _KEYS_LAST)

        weighted = self._consumer(softmax.outputs[0], "MatMul")
        self._expect(weighted.inputs[0] is softmax.outputs[0])
        value, _ = self._heads(weighted.inputs[1], _HEADS_FIRST)
        back = self._consumer(weighted.outputs[0], "Transpose")
        self._expect(_perm(back) == _HEADS_FIRST)
        joined = self._consumer(back.outputs[0], "Reshape")
        assert mask is not None
        return Attention(
            query,
            key,
            value,
            mask,
            scale,
            head_size,
            joined.outputs[0],
            frozenset(self._seen),
        )

    def _scaled(self, scores: ir.Value | None) -> tuple[ir.Node, float]:
        node = scores.producer() if scores is not None else None
        if node is not None and node.op_type in ("Mul", "Div") and is_constant(node.inputs[1]):
            factor = constant(node.inputs[1])
            self._expect(factor.size == 1)
            self._producer(scores, node.op_type)
            scale = float(factor.reshape(()))
            scale = scale if node.op_type == "Mul" else 1 / scale
            return self._producer(node.inputs[0], "MatMul"), scale
        return self._producer(scores, "MatMul"), 1.0

    def _heads(self, value: ir.Value | None, perm: tuple[int, ...]) -> tuple[ir.Value, int]:
        """The projection behind a value that is split into heads, and the size of a head."""
        split = self._producer(self._producer(value, "Transpose", perm).inputs[0], "Reshape")
        source, view = split.inputs[0], split.outputs[0]
        self._expect(source is not None and source.shape is not None and len(source.shape) == 3)
        self._expect(view.shape is not None and len(view.shape) == 4)
        assert source is not None
        assert view.shape is not None
        size = view.shape[3]
        self._expect(isinstance(size, int))
        assert isinstance(size, int)
        return source, size

    def _producer(
        self, value: ir.Value | None, op_type: str, perm: tuple[int, ...] | None = None
    ) -> ir.Node:
        """What makes `value`, which nothing else reads."""
        node = value.producer() if value is not None else None
        self._expect(node is not None and node.op_type == op_type)
        assert node is not None
        self._expect(len(tuple(node.outputs[0].uses())) == 1)
        self._expect(perm is None or _perm(node) == perm)
        self._seen.add(node)
        return node

    def _consumer(self, value: ir.Value, op_type: str) -> ir.Node:
        """The only reader of `value`."""
        uses = tuple(value.uses())
        self._expect(len(uses) == 1 and uses[0].node.op_type == op_type)
        self._seen.add(uses[0].node)
        return uses[0].node

    def _expect(self, condition: bool) -> None:
        if not condition:
            raise _MismatchError


def _perm(node: ir.Node) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints("perm", ()))


def _rank_one_between(value: ir.Value | None) -> bool:
    """Whether the value is (batch, 1, 1, tokens)."""
    shape = value.shape if value is not None else None
    return shape is not None and len(shape) == 4 and shape[1] == 1 and shape[2] == 1
