"""Elements of HTML and SVG. Whatever is not markup already is escaped on the way in."""

from __future__ import annotations

import re
from html import escape

#: What XML 1.0 cannot hold, https://www.w3.org/TR/xml/#charsets.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: HTML elements without an end tag.
_VOID = frozenset({"br", "hr", "img", "link", "meta"})


class Markup(str):
    """Text that is markup already and enters elements as it is."""

    __slots__ = ()


def text(value: str) -> Markup:
    """`value` escaped; what XML cannot hold becomes U+FFFD."""
    return value if isinstance(value, Markup) else Markup(escape(_ILLEGAL.sub("\ufffd", value)))


def element(name: str, *children: str | None, **attributes: str | float | None) -> Markup:
    """``<name ...>children</name>``; children and attributes that are None are left out.

    Args:
        name: e.g. ``p``.
        children: escaped unless they are Markup.
        attributes: ``class_`` is class, ``font_size`` is font-size; floats get at most two digits
            after the point.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    """Children one after the other, each escaped unless it is Markup."""
    return Markup("".join(text(child) for child in children if child is not None))


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return text(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
