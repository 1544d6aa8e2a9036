"""The result of `bench offline` as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rich.table import Table

from labelmill.client.cli import output

#: Whose speed the others are multiples of.
_BASE = "hf-pipeline-fp32"

_MIB = 1 << 20


def show(result: dict[str, Any], print_table: Callable[[Any], None] = output.show) -> None:
    """Prints both tables, and on stderr what they mean."""
    print_table(_answers(result))
    print_table("")
    print_table(_resources(result))
    for line in _footnotes(result):
        output.note(line)


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Contenders, the slowest first."""
    return sorted(result["contenders"], key=lambda row: float(row["texts_per_second"]))


def _answers(result: dict[str, Any]) -> Table:
    rows = _rows(result)
    base = next((row["texts_per_second"] for row in rows if row["name"] == _BASE), None)
    table = output.table(
        "contender",
        ">texts/s",
        ">ratio",
        ">p50 ms",
        ">p99 ms",
        ">accuracy",
        ">agree",
        ">flips",
        ">peak",
        title=(
            f"{result['model']}@{result['version']}: {result['texts']:,} texts of "
            f"{result['tokens']['mean']:g} tokens on average, {result['threads']} threads each"
        ),
    )
    for row in rows:
        rate = row["texts_per_second"]
        table.add_row(
            row["name"],
            f"{rate:,.0f}",
            f"{rate / base:.1f}×" if base else "–",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            _percent(row["accuracy"]),
            _percent(row["label_agreement"]),
            f"{row['batch_flips']}",
            _percent(row["peak_share"], 0),
        )
    return table


def _resources(result: dict[str, Any]) -> Table:
    table = output.table(
        "contender", ">rounds, texts/s", ">load s", ">memory MiB", ">file MiB", ">padding"
    )
    for row in _rows(result):
        slowest, fastest = row["texts_per_second_min"], row["texts_per_second_max"]
        table.add_row(
            row["name"],
            f"{slowest:,.0f} to {fastest:,.0f}",
            f"{row['load_seconds']:.1f}",
            f"{row['peak_memory_bytes'] / _MIB:,.0f}",
            f"{row['file_bytes'] / _MIB:,.0f}",
            _percent(row["padding_waste"]),
        )
    return table


def _footnotes(result: dict[str, Any]) -> Iterator[str]:
    """What the table means, what was left out, and the machine."""
    host = result["host"]
    yield (
        f"texts: {result['source']}. texts/s is the median of {result['rounds']} rounds, text in "
        "to label out; p50 and p99 are of one text alone; agree: with the labels of "
        f"{result['reference'] or 'nobody'}; flips: labels that change when a text is scored alone "
        "instead of in a batch; padding: share of the tokens computed that no text has."
    )
    if result["ceiling_macs_per_second"]:
        yield (
            f"peak: share of {result['ceiling_macs_per_second'] / 1e9:,.0f} billion U8×S8 products "
            "a second, the most this machine did here."
        )
    for row in result["contenders"]:
        if row["texts"] < result["texts"]:
            yield f"{row['name']} scored {row['texts']:,} of the texts, of every length its share."
    for skipped in result["skipped"]:
        yield f"left out: {skipped['name']}: {skipped['reason']}"
    libraries = ", ".join(f"{name} {version}" for name, version in host["libraries"].items())
    yield f"machine: {host['cpu']} ({', '.join(host['instruction_sets'])}); {libraries}"


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{share:.{digits}%}"
