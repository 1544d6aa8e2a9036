"""The plot of texts a second."""

from __future__ import annotations

from functools import partial

from labelmill.client.bench.page.colours import colour
from labelmill.client.bench.page.run import Row, Run
from labelmill.pages import quantity
from labelmill.pages.bars import Bar, bars
from labelmill.pages.figure import figure
from labelmill.pages.markup import Markup, join
from labelmill.pages.prose import code


def speed(run: Run) -> Markup:
    """The median of each contender, and its rounds."""
    rows = [
        Bar(
            row.name,
            row.texts_per_second,
            f"{quantity.number(row.texts_per_second)}/s · {quantity.times(run.ratio(row))}",
            colour(row.name),
            strong=row.ours,
            dots=row.rates,
            hint=_rounds(row),
        )
        for row in run.contenders
    ]
    return figure(
        "Speed",
        join(
            "Texts a second. The bar is the median round, each dot one round; labelmill's own are "
            "bold, and × counts multiples of ",
            code(run.base.name),
            ".",
        ),
        partial(bars, rows, title="texts a second", label="Texts a second of each contender"),
        "Text in, label out: tokenizing, padding, inference and the choice of the label are inside "
        "the clock, for everyone. All contenders are loaded first, each in a process of its own "
        "on the same cores; then each scores the texts once, then each again.",
    )


def _rounds(row: Row) -> str:
    rates = ", ".join(f"{quantity.number(rate)}/s" for rate in row.rates)
    return f"rounds: {rates}" if rates else ""
