"""Axes: grid lines with a number each, and what the numbers are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from labelmill.pages import svg
from labelmill.pages.markup import Markup, join
from labelmill.pages.scale import Scale, tick_labels

#: Pixels that a horizontal axis takes below the plot, its title included.
HEIGHT = 40

#: Pixels between two labels, at least.
_GAP = 14

#: As many ticks are tried however small the plot is.
_LEAST_TRIED = 4

#: Pixels from the plot to the baseline of the labels, and to that of the title.
_LABEL_DROP, _TITLE_DROP = 16, 33


def horizontal(
    scale: Scale,
    span: tuple[float, float],
    top: float,
    bottom: float,
    title: str,
    unit: Callable[[float], str] | None = None,
) -> Markup:
    """Vertical grid lines from `top` to `bottom`, numbers and `title` below.

    Args:
        scale: of the values.
        span: pixels that it covers; decide how many ticks there is room for.
        top: pixels.
        bottom: pixels.
        title: what the values are, with their unit.
        unit: writes a tick; plain numbers by default.
    """
    ticks = _fitting_ticks(scale, span[1] - span[0], unit)
    shapes = []
    for tick, label in zip(ticks, tick_labels(ticks, unit), strict=True):
        x = scale(tick)
        shapes.append(svg.line(x, top, x, bottom, "grid"))
        shapes.append(svg.words(label, x, bottom + _LABEL_DROP, "tick", "middle"))
    middle = (span[0] + span[1]) / 2
    return join(*shapes, svg.words(title, middle, bottom + _TITLE_DROP, "muted", "middle"))


def vertical(
    scale: Scale, left: float, right: float, most: int, unit: Callable[[float], str] | None = None
) -> Markup:
    """Horizontal grid lines from `left` to `right`, their numbers to the left of them."""
    ticks = scale.ticks(most)
    shapes = []
    for tick, label in zip(ticks, tick_labels(ticks, unit), strict=True):
        y = scale(tick)
        shapes.append(svg.line(left, y, right, y, "grid"))
        shapes.append(svg.words(label, left - 8, y + 4, "tick", "end"))
    return join(*shapes)


def _fitting_ticks(scale: Scale, pixels: float, unit: Callable[[float], str] | None) -> list[float]:
    """As many ticks as their labels leave room for."""
    for most in range(max(_LEAST_TRIED, int(pixels / scale.tick_px)), 1, -1):
        ticks = scale.ticks(most)
        half = [svg.text_width(label) / 2 for label in tick_labels(ticks, unit)]
        if all(
            scale(after[0]) - after[1] - scale(before[0]) - before[1] >= _GAP
            for before, after in pairwise(zip(ticks, half, strict=True))
        ):
            return ticks
    return scale.ticks(2)
