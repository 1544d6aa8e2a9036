"""A plot with its heading and what it shows, drawn for a desk and once more for a phone."""

from __future__ import annotations

from collections.abc import Callable

from labelmill.pages.markup import Markup, element

#: Widths in pixels that a plot is drawn at: alone in its row, one of two, and on a phone.
FULL, HALF, PHONE = 1040, 500, 350


def figure(
    title: str, says: str, draw: Callable[[float], Markup], how: str = "", half: bool = False
) -> Markup:
    """A figure.

    Args:
        title: its heading.
        says: one sentence: what to see in it.
        draw: makes the plot of a width in pixels.
        how: how it was measured, in small print below.
        half: it shares its row with another on a wide screen.
    """
    wide = element("div", draw(HALF if half else FULL), class_="wide")
    narrow = element("div", draw(PHONE), class_="narrow")
    return element(
        "figure",
        element("figcaption", element("h2", title), element("p", says)),
        element("div", wide, narrow, element("p", how, class_="how") if how else None),
        class_="half" if half else None,
    )
