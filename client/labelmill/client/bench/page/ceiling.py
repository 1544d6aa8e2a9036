"""The plot of how much of the machine's INT8 rate is used."""

from __future__ import annotations

from functools import partial

from labelmill.client.bench.page.colours import colour
from labelmill.client.bench.page.run import Run
from labelmill.pages import quantity
from labelmill.pages.bars import Bar, bars
from labelmill.pages.figure import figure
from labelmill.pages.markup import Markup


def ceiling(run: Run) -> Markup | None:
    """Contenders that compute in INT8; None where there are none, or no ceiling."""
    rows = [
        Bar(
            row.name,
            row.peak_share,
            quantity.percent(row.peak_share, 0),
            colour(row.name),
            strong=row.ours,
        )
        for row in run.contenders
        if row.peak_share is not None
    ]
    if not rows or run.ceiling_macs_per_second is None:
        return None
    billions = quantity.number(run.ceiling_macs_per_second / 1e9)
    return figure(
        "Share of what the machine can multiply",
        "How much of the machine's INT8 rate reaches real tokens; padding does not count.",
        partial(
            bars,
            rows,
            title="share of the U8×S8 ceiling",
            label="Share of the machine's INT8 rate, by contender",
            unit=partial(quantity.percent, digits=0),
            least_end=1.0,
        ),
        f"100% is {billions} billion U8×S8 products a second, the fastest "
        "that ONNX Runtime's own product ran here, over four shapes, after each round.",
        half=True,
    )
