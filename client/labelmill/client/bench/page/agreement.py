"""The plot of speed against agreement: what is fast, and right."""

from __future__ import annotations

from functools import partial
from math import ceil

from labelmill.client.bench.page.colours import colour
from labelmill.client.bench.page.run import Row, Run
from labelmill.pages import quantity, svg
from labelmill.pages.figure import figure
from labelmill.pages.markup import Markup, join
from labelmill.pages.prose import code
from labelmill.pages.scale import Linear, Log
from labelmill.pages.scatter import Frame, Mark, scatter

#: Least span of the agreement's axis: below it, single texts would look like much.
_LEAST_SPAN = 0.02

#: Pixels around the scatter plot: numbers at its left, title above, names above the points.
_LEFT, _TOP, _WIDE_HEADROOM, _NARROW_HEADROOM = 52.0, 26.0, 56.0, 84.0

#: Heights of the scatter plot, wide and narrow, pixels.
_WIDE_HEIGHT, _NARROW_HEIGHT = 360.0, 390.0


def agreement(run: Run) -> Markup | None:
    """Every contender with an agreement; None where nobody has one."""
    shown = [row for row in run.contenders if row.label_agreement is not None]
    if not shown:
        return None
    reference = run.reference or "the reference"
    flipping = any(row.batch_flips for row in shown)
    hollow = " Rings instead of discs: some labels changed with the batch." if flipping else ""
    return figure(
        "Fast and right",
        join(
            "The further right, the faster; the higher, the more texts with the label of ",
            code(reference),
            f". Best is the upper right corner.{hollow}",
        ),
        partial(_draw, shown, reference),
        "Agreement counts the same label whether it is right or wrong; accuracy is in the table.",
    )


def _draw(shown: list[Row], reference: str, width: float) -> Markup:
    marks = [
        Mark(
            row.name,
            row.texts_per_second,
            row.label_agreement or 0.0,
            colour(row.name),
            strong=row.ours,
            hollow=bool(row.batch_flips),
            hint=f"{quantity.number(row.texts_per_second)}/s, "
            f"{quantity.percent(row.label_agreement, 2)} the same label",
        )
        for row in shown
    ]
    narrow = width < svg.NARROW_PX
    bottom, headroom = (
        (_NARROW_HEIGHT, _NARROW_HEADROOM) if narrow else (_WIDE_HEIGHT, _WIDE_HEADROOM)
    )
    frame = Frame(_LEFT, _TOP, width, bottom)
    rates = [mark.x for mark in marks]
    lowest = min(mark.y for mark in marks)
    floor = min(1 - _LEAST_SPAN, 1 - ceil((1 - lowest) * 100 * 1.08) / 100)
    x = Log(min(rates) / 1.15, max(rates) * 1.15, frame.left, frame.right)
    y = Linear(max(0.0, floor), 1.0, frame.bottom, frame.top + headroom)
    return scatter(
        marks,
        width,
        frame,
        x,
        y,
        ("texts a second, log scale", f"texts with the label of {reference}"),
        "Texts a second and label agreement of each contender",
        partial(quantity.percent, digits=0 if 1 - floor >= 0.06 else 1),
    )
