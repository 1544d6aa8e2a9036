"""The plot of the time of one text alone."""

from __future__ import annotations

from functools import partial

from labelmill.client.bench.page.colours import colour
from labelmill.client.bench.page.run import Run
from labelmill.pages import quantity
from labelmill.pages.figure import figure
from labelmill.pages.markup import Markup
from labelmill.pages.strips import Strip, strips


def latency(run: Run) -> Markup | None:
    """Percentiles of each contender, the quickest first; None where nobody was measured."""
    if not any(row.percentiles for row in run.contenders):
        return None
    ordered = sorted(run.contenders, key=lambda row: row.percentiles.get(50, float("inf")))
    rows = [
        Strip(
            row.name,
            row.percentiles,
            f"{_short_ms(row.p50_ms)} / {_short_ms(row.p99_ms)}" if row.p50_ms else quantity.NONE,
            colour(row.name),
            strong=row.ours,
            hint=", ".join(
                f"p{rank} {quantity.milliseconds(value)}"
                for rank, value in sorted(row.percentiles.items())
            ),
        )
        for row in ordered
    ]
    counts = sorted({row.texts_alone for row in run.contenders if row.texts_alone})
    each = f"{_from_to(counts)} texts each, " if counts else ""
    return figure(
        "One text alone",
        "Milliseconds from text to label with nothing else to do. The upright line is the median, "
        "the box the middle half, the thin line p1 to p99, the ring p99; beside it p50 / p99.",
        partial(
            strips, rows, title="milliseconds", label="Milliseconds of one text alone, each way"
        ),
        f"Batches of one, {each}in a pass of its own after the rounds; percentiles by nearest "
        "rank. labelmill's engines use one thread for one text, the others all of theirs.",
    )


def _short_ms(value: float | None) -> str:
    return quantity.milliseconds(value).removesuffix(" ms")


def _from_to(counts: list[int]) -> str:
    ends = dict.fromkeys(map(quantity.count, (counts[0], counts[-1])))
    return " to ".join(ends)
