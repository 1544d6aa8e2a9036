"""Parts of sentences: names, lists, plurals."""

from __future__ import annotations

from collections.abc import Sequence

from labelmill.pages.markup import Markup, element, join

#: Names up to this length are kept on one line; longer ones may break anywhere.
_SHORT = 26


def code(name: str) -> Markup:
    """A name as machines write it."""
    return element("code", name, class_=None if len(name) <= _SHORT else "long")


def listed(parts: Sequence[str]) -> Markup:
    """``a``, ``a and b``, ``a, b and c``."""
    between = ["", *[", "] * (len(parts) - 2), " and "][: len(parts)]
    return join(*(join(before, part) for before, part in zip(between, parts, strict=True)))


def plural(number: int, noun: str) -> str:
    """``1 text``, ``1,279 texts``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
