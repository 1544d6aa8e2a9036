"""What is computed from a contender's raw measurements. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from statistics import median
from typing import Any

#: Percentiles of the time of one text alone that a row carries.
ALONE_PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


@dataclass
class Raw:
    """Everything measured of one contender."""

    name: str
    #: Indices of its texts among those of the run.
    indices: list[int]
    #: Seconds of each round over those texts.
    seconds: list[float]
    #: Labels of the last round, one a text.
    labels: list[str]
    #: Positions among its texts of those scored alone, their labels then, and milliseconds.
    alone_positions: list[int]
    alone_labels: list[str]
    alone_ms: list[float]
    load_seconds: float
    peak_bytes: int
    file_bytes: int
    #: Share of the padded tokens of the last round that were padding; None where not known.
    padding_waste: float | None


@dataclass(frozen=True)
class Run:
    """What every contender is measured against."""

    #: True labels, one a text, or none.
    truth: list[str]
    token_counts: list[int]
    macs_per_token: int
    #: U8×S8 multiply-accumulates a second; None when it was not measured.
    ceiling: float | None


@dataclass(frozen=True)
class Figures:
    """One row of the comparison; see docs/performance.md for how each figure is measured."""

    name: str
    #: Median of the rounds, the slowest and the fastest round.
    texts_per_second: float
    texts_per_second_min: float
    texts_per_second_max: float
    #: Each round, in the order they were run.
    round_texts_per_second: list[float]
    tokens_per_second: float
    #: Milliseconds of one text alone.
    p50_ms: float
    p99_ms: float
    #: Percentile → milliseconds of one text alone, e.g. ``{"p1": 2.1, ...}``.
    alone_ms: dict[str, float]
    #: Share of texts with their true label; None without labels.
    accuracy: float | None
    #: Share of texts with the reference's label; None without a reference.
    label_agreement: float | None
    #: Texts that both scored, which `label_agreement` is a share of; None without a reference.
    texts_compared: int | None
    #: Texts, of those scored alone, whose label was another one within a batch.
    batch_flips: int
    #: Share of the machine's U8×S8 rate that the linear layers ran at; None unless INT8.
    peak_share: float | None
    texts: int
    texts_alone: int
    load_seconds: float
    peak_memory_bytes: int
    file_bytes: int
    #: Share of the tokens computed in a round that were padding; None where it is not known.
    padding_waste: float | None

    def to_json(self) -> dict[str, Any]:
        """As `bench --json` prints it."""
        return {key: _rounded(value) for key, value in asdict(self).items()}


def figures(raw: Raw, run: Run, reference: Raw | None) -> Figures:
    """The row of one contender; `reference` decides what agreement is with."""
    count = len(raw.indices)
    rates = [count / seconds for seconds in raw.seconds]
    rate = median(rates)
    tokens = sum(run.token_counts[index] for index in raw.indices)
    tokens_per_second = rate * tokens / count
    alone = zip(raw.alone_positions, raw.alone_labels, strict=True)
    agreeing, compared = _agreement(raw, reference)
    return Figures(
        name=raw.name,
        texts_per_second=rate,
        texts_per_second_min=min(rates),
        texts_per_second_max=max(rates),
        round_texts_per_second=rates,
        tokens_per_second=tokens_per_second,
        p50_ms=percentile(raw.alone_ms, 50),
        p99_ms=percentile(raw.alone_ms, 99),
        alone_ms={f"p{rank}": percentile(raw.alone_ms, rank) for rank in ALONE_PERCENTILES},
        accuracy=_accuracy(raw, run.truth),
        label_agreement=agreeing / compared if compared else None,
        texts_compared=compared if reference else None,
        batch_flips=sum(label != raw.labels[position] for position, label in alone),
        peak_share=(
            tokens_per_second * run.macs_per_token / run.ceiling
            if run.ceiling and run.macs_per_token and raw.name.endswith("-int8")
            else None
        ),
        texts=count,
        texts_alone=len(raw.alone_positions),
        load_seconds=raw.load_seconds,
        peak_memory_bytes=raw.peak_bytes,
        file_bytes=raw.file_bytes,
        padding_waste=raw.padding_waste,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile: the smallest value that `percent` of them do not exceed."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def _accuracy(raw: Raw, truth: list[str]) -> float | None:
    if not truth:
        return None
    pairs = zip(raw.indices, raw.labels, strict=True)
    return sum(_same(label, truth[index]) for index, label in pairs) / len(raw.indices)


def _agreement(raw: Raw, reference: Raw | None) -> tuple[int, int]:
    """Texts with the reference's label, and texts that both scored."""
    if reference is None:
        return 0, 0
    theirs = dict(zip(reference.indices, reference.labels, strict=True))
    shared = [
        theirs[index] == label
        for index, label in zip(raw.indices, raw.labels, strict=True)
        if index in theirs
    ]
    return sum(shared), len(shared)


def _same(label: str, truth: str) -> bool:
    """Whether both name the same labels; several are joined by ``|`` in any order."""
    return label == truth or set(label.split("|")) == {part.strip() for part in truth.split("|")}


def _rounded(value: Any) -> Any:
    """`value` with at most four digits after the point, also inside lists and objects."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 4) if isinstance(value, float) else value
