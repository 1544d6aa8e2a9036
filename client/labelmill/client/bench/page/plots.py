"""The plots of a run, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterator

from labelmill.client.bench.page.agreement import agreement
from labelmill.client.bench.page.ceiling import ceiling
from labelmill.client.bench.page.flips import flips
from labelmill.client.bench.page.latency import latency
from labelmill.client.bench.page.resources import memory, weights
from labelmill.client.bench.page.run import Run
from labelmill.client.bench.page.speed import speed
from labelmill.pages.markup import Markup, element


def plots(run: Run) -> Iterator[Markup]:
    """Every plot that the run has figures for."""
    yield speed(run)
    yield from filter(None, (agreement(run), latency(run)))
    halves = [plot for plot in (flips(run), ceiling(run), memory(run), weights(run)) if plot]
    if halves:
        yield element("div", *halves, class_="pair")
