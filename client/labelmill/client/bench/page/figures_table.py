"""The table of a run: every figure of every contender."""

from __future__ import annotations

from labelmill.client.bench.page.colours import colour
from labelmill.client.bench.page.run import Row, Run
from labelmill.pages import quantity
from labelmill.pages.markup import Markup, element, join
from labelmill.pages.table import Column, table

_MIB = 1 << 20


def figures_table(run: Run) -> Markup:
    """The fastest first; labelmill's own are bold."""
    columns = (
        Column("contender"),
        Column("texts/s", hint="median round, text in to label out"),
        Column("rounds", "texts/s", "the slowest and the fastest"),
        Column("ratio", hint=f"multiple of the texts/s of {run.base.name}"),
        Column("p50", "ms", "one text alone"),
        Column("p99", "ms", "one text alone"),
        Column("accuracy", hint="texts with their true label"),
        Column("agreement", hint=f"texts with the label of {run.reference or 'nobody'}"),
        Column("flips", "texts", "label alone is another than in the batch"),
        Column("of peak", hint="share of the U8×S8 ceiling"),
        Column("memory", "MiB", "most resident memory of the process"),
        Column("weights", "MiB", "the file that is read"),
        Column("load", "s", "from the start of the process, libraries included"),
    )
    rows = [_cells(run, row) for row in run.contenders]
    strong = [row.ours for row in run.contenders]
    return table(columns, rows, strong, "All figures")


def _cells(run: Run, row: Row) -> list[str]:
    swatch = element("span", class_="swatch", style=f"background:{colour(row.name)}")
    ends = (row.slowest, row.fastest)
    rounds = "–".join(dict.fromkeys(quantity.number(rate) for rate in ends if rate is not None))
    return [
        join(swatch, row.name),
        quantity.number(row.texts_per_second),
        rounds or quantity.NONE,
        quantity.times(run.ratio(row)),
        quantity.milliseconds(row.p50_ms).removesuffix(" ms"),
        quantity.milliseconds(row.p99_ms).removesuffix(" ms"),
        quantity.percent(row.accuracy),
        quantity.percent(row.label_agreement),
        quantity.count(row.batch_flips),
        quantity.percent(row.peak_share, 0),
        _mib(row.peak_memory_bytes),
        _mib(row.file_bytes),
        quantity.seconds(row.load_seconds).removesuffix(" s"),
    ]


def _mib(value: int | None) -> str:
    return quantity.NONE if value is None else f"{value / _MIB:,.0f}"
