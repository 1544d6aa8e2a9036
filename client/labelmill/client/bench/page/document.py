"""The whole page of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labelmill.client.bench.page import headline
from labelmill.client.bench.page.figures_table import figures_table
from labelmill.client.bench.page.plots import plots
from labelmill.client.bench.page.run import Run, read
from labelmill.pages import quantity
from labelmill.pages.markup import Markup, element
from labelmill.pages.prose import code, plural
from labelmill.pages.shell import page
from labelmill.pages.table import facts


def render(document: Any) -> str:
    """The page of a run, as HTML.

    Args:
        document: the object of ``bench offline --json``.

    Raises:
        InvalidArgumentError: it is something else.
    """
    run = read(document)
    return page(
        f"{run.model}@{run.version}: bench offline",
        *_contents(run),
        data=document,
    )


def _contents(run: Run) -> Iterator[Markup]:
    yield element("p", f"labelmill bench offline: {run.model}@{run.version}", class_="over")
    yield element("h1", headline.title(run))
    yield element("p", headline.lead(run), class_="lead")
    caveats = list(headline.caveats(run))
    if caveats:
        yield element("div", *(element("p", caveat) for caveat in caveats), class_="warn")
    yield facts(list(_facts(run)), long=["versions"])
    yield element("section", element("h2", "All figures"), figures_table(run))
    yield from plots(run)
    if run.skipped:
        entries = [element("li", code(skip.name), f": {skip.reason}") for skip in run.skipped]
        yield element("section", element("h2", "Left out"), element("ul", *entries))
    yield _origin(run)


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    host, tokens = run.host, run.tokens
    cores = plural(host.usable_cores, "usable core") if host.usable_cores else ""
    memory = f"{quantity.size(host.memory_bytes)} of memory" if host.memory_bytes else ""
    yield "machine", _list(host.cpu, cores, memory, host.system)
    yield "instruction sets", ", ".join(host.instruction_sets)
    lengths = (
        ("mean", quantity.number(tokens.mean)),
        ("median", quantity.number(tokens.median)),
        ("most", quantity.count(tokens.max)),
    )
    known = [f"{kind} {value}" for kind, value in lengths if value != quantity.NONE]
    yield "texts", _list(quantity.count(run.texts), f"from {run.source}" if run.source else "")
    yield "tokens a text", ", ".join(known)
    threads = f"{plural(run.threads, 'thread')} each" if run.threads else ""
    rounds = f"{plural(run.rounds, 'round')} in turn" if run.rounds else ""
    yield "conditions", _list(threads, rounds, "one process a contender")
    took = f"took {quantity.number(run.seconds)} s" if run.seconds else ""
    yield "measured", _list(run.measured_at.replace("T", " ").replace("+00:00", " UTC"), took)
    versions = [f"{name} {version}" for name, version in host.libraries.items()]
    yield "versions", _list(*versions, f"Python {host.python}" if host.python else "")


def _origin(run: Run) -> Markup:
    parts = [element("h2", "Run it again")]
    if run.command:
        parts.append(element("pre", run.command))
    parts.append(
        element(
            "p",
            "docs/performance.md of labelmill says how each figure is measured. The run itself, as "
            "--json prints it, is inside this file, in the element ",
            code("#data"),
            "; ",
            code("labelmill bench page"),
            " makes this page of such a file.",
            class_="small",
        )
    )
    return element("section", *parts)


def _list(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
