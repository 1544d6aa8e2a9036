"""Tables whose first column stays in sight where they are wider than the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labelmill.pages.markup import Markup, element


@dataclass(frozen=True)
class Column:
    """A column; `unit` is small beside its title, `hint` appears under the pointer."""

    title: str
    unit: str = ""
    hint: str = ""


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], strong: Sequence[bool], caption: str
) -> Markup:
    """Names in the first column, numbers in the others.

    Args:
        columns: titles.
        rows: cells, escaped unless they are Markup.
        strong: which rows are bold.
        caption: what the table is, for those who do not see it.
    """
    heads = [
        element(
            "th",
            column.title,
            element("small", column.unit) if column.unit else None,
            scope="col",
            title=column.hint or None,
        )
        for column in columns
    ]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell) for cell in row[1:]),
            class_="strong" if bold else None,
        )
        for row, bold in zip(rows, strong, strict=True)
    ]
    made = element(
        "table",
        element("caption", caption, class_="unseen"),
        element("thead", element("tr", *heads)),
        element("tbody", *body),
    )
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def facts(pairs: Sequence[tuple[str, str]], long: Sequence[str] = ()) -> Markup:
    """A list of names and what they are; those named in `long` get a row of their own."""
    entries = [
        element(
            "div",
            element("dt", name),
            element("dd", value),
            class_="long" if name in long else None,
        )
        for name, value in pairs
        if value
    ]
    return element("dl", *entries)
