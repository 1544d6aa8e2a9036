"""Quantities as people read them, with their units. None is a dash."""

from __future__ import annotations

from math import floor, log10

NONE = "–"

_MIB = 1 << 20

#: From how many MiB on GiB are easier to read.
_GIB_FROM = 10 * 1024

#: Significant digits of a rate or a time.
_DIGITS = 3

#: Most digits after the point that tell a share from all or nothing.
_MOST_SHARE_DIGITS = 4


def number(value: float | None) -> str:
    """Three significant digits, whole from 100 on: ``0.85``, ``9.53``, ``95.3``, ``1,234``."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    digits = max(0, _DIGITS - 1 - floor(log10(abs(value))))
    return f"{value:,.{digits}f}"


def count(value: int | None) -> str:
    """``1,279``."""
    return NONE if value is None else f"{value:,}"


def times(value: float | None) -> str:
    """``5.0×``; two digits below 0.95."""
    return NONE if value is None else f"{value:,.{1 if value >= 0.95 else 2}f}×"


def percent(share: float | None, digits: int = 1) -> str:
    """``99.3%``; what is not all is never rounded to 100%, nor what is not nothing to 0%."""
    if share is None:
        return NONE
    for more in range(digits, _MOST_SHARE_DIGITS + 1):
        shown = f"{share:.{more}%}"
        if share in (0.0, 1.0) or float(shown.rstrip("%")) not in (0.0, 100.0):
            return shown
    return shown


def milliseconds(value: float | None) -> str:
    """``2.6 ms``: one digit from 1 ms to 100 ms, two below, none above."""
    if value is None:
        return NONE
    return f"{value:,.{2 if value < 1 else 1 if value < 100 else 0}f} ms"


def seconds(value: float | None) -> str:
    """``4.2 s``."""
    return NONE if value is None else f"{value:,.1f} s"


def size(value: int | None) -> str:
    """Bytes as ``87 MiB`` or ``12.5 GiB``; one digit below 10 MiB."""
    if value is None:
        return NONE
    mib = value / _MIB
    if mib >= _GIB_FROM:
        return f"{mib / 1024:,.1f} GiB"
    return f"{mib:,.{0 if mib >= 10 else 1}f} MiB"
