"""Points in two dimensions, each with its name beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labelmill.pages import axis, labels, svg
from labelmill.pages.markup import Markup, element
from labelmill.pages.scale import Scale

#: Pixels.
_RADIUS, _NARROW_RADIUS = 6.0, 5.0

#: Most of the plot's width that one name takes.
_NAME_SHARE = 0.6


@dataclass(frozen=True)
class Mark:
    """One point."""

    name: str
    x: float
    y: float
    #: A CSS colour.
    colour: str
    strong: bool = False
    #: Drawn as a ring instead of a disc.
    hollow: bool = False
    #: Appears under the pointer.
    hint: str = ""


@dataclass(frozen=True)
class Frame:
    """Where the plot lies within its drawing, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def scatter(
    marks: Sequence[Mark],
    width: float,
    frame: Frame,
    x: Scale,
    y: Scale,
    titles: tuple[str, str],
    label: str,
    y_unit: Callable[[float], str] | None = None,
) -> Markup:
    """A scatter plot.

    Args:
        marks: the points.
        width: pixels of the drawing.
        frame: of the plot; left of it are the numbers of `y`, below those of `x`.
        x: scale from left to right.
        y: scale from bottom to top.
        titles: what `x` and `y` show, with their units.
        label: what the drawing shows, for those who do not see it.
        y_unit: writes a tick of `y`; plain numbers by default.
    """
    room = (frame.right - frame.left) * _NAME_SHARE
    names = [svg.fitting(mark.name, room) for mark in marks]
    points = [
        labels.Point(x(mark.x), y(mark.y), svg.name_width(name))
        for mark, name in zip(marks, names, strict=True)
    ]
    bounds = labels.Box(frame.left + 2, frame.top, frame.right - 1, frame.bottom - 2)
    boxes = labels.place(points, bounds)
    radius = _NARROW_RADIUS if width < svg.NARROW_PX else _RADIUS
    drawn = list(zip(marks, names, points, boxes, strict=True))
    return svg.drawing(
        width,
        frame.bottom + axis.HEIGHT,
        svg.words(titles[1], 0, 12, "muted"),
        axis.horizontal(x, (frame.left, frame.right), frame.top, frame.bottom, titles[0]),
        axis.vertical(y, frame.left, frame.right, 6, y_unit),
        svg.line(frame.left, frame.bottom, frame.right, frame.bottom, "base"),
        *(_leader(point, box) for _, _, point, box in drawn),
        *(_mark(mark, name, point, box, radius) for mark, name, point, box in drawn),
        label=label,
    )


def _leader(point: labels.Point, box: labels.Box) -> Markup | None:
    end = labels.leader(point, box)
    return svg.line(point.x, point.y, *end, "leader") if end else None


def _mark(mark: Mark, name: str, point: labels.Point, box: labels.Box, radius: float) -> Markup:
    paint = {"class_": "ring", "stroke": mark.colour} if mark.hollow else {"fill": mark.colour}
    disc = element("circle", cx=point.x, cy=point.y, r=radius, **paint)
    kind = "name halo strong" if mark.strong else "name halo"
    words = svg.words(name, box.left, box.bottom - 4, kind)
    return svg.group(disc, words, hint=f"{mark.name}: {mark.hint}" if mark.hint else mark.name)
