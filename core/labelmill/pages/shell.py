"""The page around its contents: one file that needs no other, with its data inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labelmill.pages.markup import Markup, element

_STYLE = Path(__file__).with_name("style.css")

#: What would end or change the element that holds the data.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def page(title: str, *contents: str, data: Any) -> str:
    """A whole page, well-formed as HTML and as XML.

    Args:
        title: of the window.
        contents: of the body.
        data: what the page was made from, kept in the element ``#data``.

    Raises:
        ValueError: `data` has a number that JSON cannot hold.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(_STYLE.read_text(encoding="utf-8"))),
    )
    body = element("body", element("main", *contents), embedded(data))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def embedded(data: Any) -> Markup:
    """`data` as JSON in a script element that no browser runs."""
    encoded = json.dumps(data, allow_nan=False)
    for char, code in _UNSAFE.items():
        encoded = encoded.replace(char, code)
    return element("script", Markup(encoded), type="application/json", id="data")
