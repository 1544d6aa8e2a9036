"""Scales: from values to positions, and the round values between at which ticks stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from typing import ClassVar, Protocol

#: Steps that people read well, within a power of ten.
_STEPS = (1, 2, 5, 10)

#: Keeps 0.30000000000000004 and its like from adding or losing a tick.
_EPSILON = 1e-9


class Scale(Protocol):
    """A value's position, in pixels."""

    #: Pixels between ticks at which they read well.
    tick_px: ClassVar[float]

    def __call__(self, value: float) -> float:
        """The position of `value`."""
        ...

    def ticks(self, most: int) -> list[float]:
        """Round values within the scale, about `most` at most."""
        ...


@dataclass(frozen=True)
class Linear:
    """From `low`..`high` to the pixels `start`..`end`; low < high."""

    tick_px: ClassVar[float] = 75.0

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The position of `value`."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        step = nice_step((self.high - self.low) / max(most, 1))
        first = ceil(self.low / step - _EPSILON)
        last = floor(self.high / step + _EPSILON)
        return [round(number * step, 12) for number in range(first, last + 1)]


@dataclass(frozen=True)
class Log:
    """From `low`..`high` to the pixels `start`..`end`, equal ratios equally far; 0 < low < high."""

    tick_px: ClassVar[float] = 36.0

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The position of `value`, which is positive."""
        share = log10(value / self.low) / log10(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """1, 2 and 5 times powers of ten; only powers of ten where those are too many."""
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        for steps in ((1, 2, 5), (1,)):
            values = [float(f"{step}e{power}") for power in powers for step in steps]
            found = [value for value in values if self.low <= value <= self.high]
            if len(found) <= most:
                return found
        return found[:: ceil(len(found) / most)]


def nice_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `least`."""
    power: float = 10.0 ** floor(log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - _EPSILON))


def from_zero(values: Sequence[float], start: float, end: float) -> Linear:
    """A scale for bars: from 0 to the largest value."""
    return Linear(0.0, max(values, default=0.0) or 1.0, start, end)


def tick_labels(ticks: Sequence[float], unit: Callable[[float], str] | None = None) -> list[str]:
    """Ticks as text, each by `unit`, or all with as many digits as the smallest one needs."""
    if unit is not None:
        return [unit(tick) for tick in ticks]
    steps = [after - before for before, after in pairwise(ticks)]
    if not steps or max(steps) > min(steps) * (1 + _EPSILON):
        return [f"{tick:,.10g}" for tick in ticks]
    digits = max(0, -floor(log10(steps[0]) + _EPSILON))
    return [f"{tick:,.{digits}f}" for tick in ticks]
