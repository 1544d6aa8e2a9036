"""The plots of memory and of weights on disk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from labelmill.client.bench.page.colours import colour
from labelmill.client.bench.page.run import Run
from labelmill.pages import quantity
from labelmill.pages.bars import Bar, bars
from labelmill.pages.figure import figure
from labelmill.pages.markup import Markup

_MIB = 1 << 20


def memory(run: Run) -> Markup | None:
    """The most memory each contender's process held; None where it is not known."""
    return _sizes(
        run,
        {row.name: row.peak_memory_bytes for row in run.contenders},
        "Peak memory",
        "The most resident memory that the process held, libraries included.",
    )


def weights(run: Run) -> Markup | None:
    """The size of each contender's weights; None where it is not known."""
    return _sizes(
        run,
        {row.name: row.file_bytes for row in run.contenders},
        "Weights on disk",
        "The file of weights that a contender reads.",
    )


def _sizes(run: Run, sizes: Mapping[str, int | None], title: str, says: str) -> Markup | None:
    if all(size is None for size in sizes.values()):
        return None
    rows = [
        Bar(
            row.name,
            (sizes[row.name] or 0) / _MIB,
            quantity.size(sizes[row.name]),
            colour(row.name),
            strong=row.ours,
        )
        for row in run.contenders
    ]
    draw = partial(bars, rows, title="MiB", label=f"{title} of each contender")
    return figure(title, says, draw, half=True)
