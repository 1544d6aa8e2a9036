"""Horizontal bars from zero, each with its value as text and, as dots, what it is the middle of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labelmill.pages import axis, svg
from labelmill.pages.markup import Markup, element, join
from labelmill.pages.rows import Rows
from labelmill.pages.scale import Linear, from_zero

#: Pixels.
_BAR, _DOT = 15, 3.2

#: Pixels between a bar and its text.
_GAP = 9


@dataclass(frozen=True)
class Bar:
    """One bar."""

    name: str
    #: Its length; None draws none.
    value: float | None
    #: What stands behind it.
    text: str
    #: A CSS colour.
    colour: str
    #: Whether its name and text are bold.
    strong: bool = False
    #: Single measurements, drawn over it.
    dots: Sequence[float] = ()
    #: Appears under the pointer.
    hint: str = ""


def bars(
    rows: Sequence[Bar],
    width: float,
    title: str,
    label: str,
    unit: Callable[[float], str] | None = None,
    least_end: float = 0.0,
) -> Markup:
    """A bar chart.

    Args:
        rows: from the top.
        width: pixels.
        title: what the axis shows, with its unit.
        label: what the drawing shows, for those who do not see it.
        unit: writes a tick; plain numbers by default.
        least_end: the axis reaches at least this far.
    """
    room = max((svg.text_width(bar.text, bar.strong) for bar in rows), default=0.0) + _GAP
    layout = Rows([bar.name for bar in rows], width, room)
    values = [value for bar in rows for value in (bar.value or 0.0, *bar.dots)]
    scale = from_zero([least_end, *values], layout.left, layout.right)
    span = (layout.left, layout.right)
    return svg.drawing(
        width,
        layout.bottom + axis.HEIGHT,
        axis.horizontal(scale, span, 0, layout.bottom, title, unit),
        *(_row(index, bar, layout, scale) for index, bar in enumerate(rows)),
        layout.base(),
        label=label,
    )


def _row(index: int, bar: Bar, layout: Rows, scale: Linear) -> Markup:
    middle = layout.middle(index)
    end = scale(bar.value or 0.0)
    beyond = max([end, *map(scale, bar.dots)])
    body = element(
        "rect",
        x=layout.left,
        y=middle - _BAR / 2,
        width=end - layout.left,
        height=_BAR,
        fill=bar.colour,
    )
    dots = [element("circle", cx=scale(dot), cy=middle, r=_DOT, class_="dot") for dot in bar.dots]
    kind = "strong" if bar.strong else "muted" if bar.value is None else ""
    return join(
        layout.name(index, bar.name, bar.strong),
        svg.group(
            body if bar.value else None,
            *dots,
            svg.words(bar.text, beyond + _GAP, middle + 4, kind),
            hint=bar.hint,
        ),
    )
