"""The plot of labels that change with the batch."""

from __future__ import annotations

from functools import partial

from labelmill.client.bench.page.colours import colour
from labelmill.client.bench.page.run import Run
from labelmill.pages import quantity
from labelmill.pages.bars import Bar, bars
from labelmill.pages.figure import figure
from labelmill.pages.markup import Markup


def flips(run: Run) -> Markup | None:
    """Flips of each contender; None where nobody's were counted."""
    if all(row.batch_flips is None for row in run.contenders):
        return None
    rows = [
        Bar(
            row.name,
            _share(row.batch_flips, row.texts_alone),
            f"{quantity.count(row.batch_flips)} of {quantity.count(row.texts_alone)}"
            if row.batch_flips is not None
            else quantity.NONE,
            colour(row.name),
            strong=row.ours,
        )
        for row in run.contenders
    ]
    none = not any(bar.value for bar in rows)
    return figure(
        "Labels that change with the batch",
        "Texts whose label alone is another than the one within a batch. Such an answer cannot be "
        "reproduced; there should be none.",
        partial(
            bars,
            rows,
            title="share of the texts scored alone",
            label="Texts whose label depends on the batch, by contender",
            unit=partial(quantity.percent, digits=0 if none else 1),
            least_end=0.05 if none else 0.0,
        ),
        half=True,
    )


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole
