"""A drawing: the SVG element around shapes, and text whose width is known without a browser."""

from __future__ import annotations

from labelmill.pages.markup import Markup, element

#: Font sizes in pixels; style.css sets the same ones.
NAME_PX, TEXT_PX = 12.5, 12.0

#: Width of a character in font sizes: exactly of the monospaced names, at most of other text.
_NAME_EM, _TEXT_EM, _STRONG_EM = 0.605, 0.62, 0.7

#: Drawings below this width are laid out for a phone.
NARROW_PX = 480


def drawing(width: float, height: float, *shapes: str | None, label: str) -> Markup:
    """An SVG `width` × `height` pixels large that shrinks with its surroundings.

    Args:
        width: pixels.
        height: pixels.
        shapes: its contents.
        label: what it shows, for those who do not see it.
    """
    return element(
        "svg",
        *shapes,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
    )


def words(value: str, x: float, y: float, kind: str = "", anchor: str | None = None) -> Markup:
    """A line of text whose baseline starts at (x, y).

    Args:
        value: the text.
        x: pixels from the left.
        y: pixels from the top.
        kind: classes of style.css: ``name``, ``strong``, ``muted``, ``tick``.
        anchor: ``middle`` or ``end`` puts that of the text at `x`.
    """
    return element("text", value, x=x, y=y, class_=kind or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A line of the class `kind`."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def group(*shapes: str | None, hint: str = "", kind: str | None = None) -> Markup:
    """Shapes that belong together; `hint` appears under the pointer."""
    title = element("title", hint) if hint else None
    return element("g", title, *shapes, class_=kind)


def name_width(name: str) -> float:
    """Pixels that a name takes in the monospaced font."""
    return len(name) * NAME_PX * _NAME_EM


def text_width(value: str, strong: bool = False) -> float:
    """Pixels that other text takes at most, nearly always."""
    return len(value) * TEXT_PX * (_STRONG_EM if strong else _TEXT_EM)


def fitting(name: str, pixels: float) -> str:
    """`name`, its middle left out where it is wider than `pixels`: names differ at their ends."""
    most = max(5, int(pixels / (NAME_PX * _NAME_EM)))
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"
