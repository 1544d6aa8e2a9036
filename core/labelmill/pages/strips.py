"""Distributions, one a row: a line from end to end, a box around the middle half, the median."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labelmill.pages import axis, svg
from labelmill.pages.markup import Markup, element, join
from labelmill.pages.rows import Rows
from labelmill.pages.scale import Log, Scale, from_zero

#: Pixels.
_BOX, _MEDIAN, _DOT, _GAP = 12, 20, 3.6, 10

#: Ratio of the largest to the smallest value from which on a linear scale hides the small ones.
_LOG_FROM = 20.0


@dataclass(frozen=True)
class Strip:
    """One distribution."""

    name: str
    #: Percentile → value; those of 1, 25, 50, 75 and 99 are drawn where they are there.
    percentiles: Mapping[int, float]
    #: What stands behind it.
    text: str
    #: A CSS colour.
    colour: str
    strong: bool = False
    #: Appears under the pointer.
    hint: str = ""


def strips(
    rows: Sequence[Strip],
    width: float,
    title: str,
    label: str,
    unit: Callable[[float], str] | None = None,
) -> Markup:
    """A plot of distributions; from zero, or logarithmic where they lie far apart.

    Args:
        rows: from the top.
        width: pixels.
        title: what the axis shows, with its unit.
        label: what the drawing shows, for those who do not see it.
        unit: writes a tick; plain numbers by default.
    """
    room = max((svg.text_width(strip.text, strip.strong) for strip in rows), default=0.0) + _GAP
    layout = Rows([strip.name for strip in rows], width, room)
    values = [value for strip in rows for value in strip.percentiles.values()]
    scale, kind = _scale(values, layout)
    span = (layout.left, layout.right)
    return svg.drawing(
        width,
        layout.bottom + axis.HEIGHT,
        axis.horizontal(scale, span, 0, layout.bottom, title + kind, unit),
        *(_row(index, strip, layout, scale) for index, strip in enumerate(rows)),
        None if kind else layout.base(),
        label=label,
    )


def _scale(values: Sequence[float], layout: Rows) -> tuple[Scale, str]:
    positive = [value for value in values if value > 0]
    if positive and max(positive) / min(positive) > _LOG_FROM:
        low, high = min(positive) / 1.2, max(positive) * 1.05
        return Log(low, high, layout.left, layout.right), ", log scale"
    return from_zero(values, layout.left, layout.right), ""


def _row(index: int, strip: Strip, layout: Rows, scale: Scale) -> Markup:
    middle = layout.middle(index)
    at = {rank: scale(value) for rank, value in strip.percentiles.items()}
    shapes = []
    if 1 in at and 99 in at:
        shapes.append(_stroke(at[1], at[99], middle, strip.colour))
    if 25 in at and 75 in at:
        box = {"x": at[25], "y": middle - _BOX / 2, "width": max(1.0, at[75] - at[25])}
        shapes.append(element("rect", **box, height=_BOX, fill=strip.colour))
    if 99 in at:
        shapes.append(
            element("circle", cx=at[99], cy=middle, r=_DOT, class_="ring", stroke=strip.colour)
        )
    if 50 in at:
        half = _MEDIAN / 2
        # Once broad in the colour of the page, so that it is seen on boxes of its own colour too.
        kinds = ("median-edge", "median")
        shapes += [svg.line(at[50], middle - half, at[50], middle + half, kind) for kind in kinds]
    right = max(at.values(), default=layout.left)
    text_kind = "strong" if strip.strong else ""
    return join(
        layout.name(index, strip.name, strip.strong),
        svg.group(
            *shapes,
            svg.words(strip.text, right + _GAP, middle + 4, text_kind if at else "muted"),
            hint=strip.hint,
        ),
    )


def _stroke(start: float, end: float, y: float, colour: str) -> Markup:
    return element("line", x1=start, y1=y, x2=end, y2=y, stroke=colour, class_="whisker")
