from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labelmill.pages import quantity


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (quantity.number, 0.8512, "0.851"),
        (quantity.number, 95.34, "95.3"),
        (quantity.number, 1279.4, "1,279"),
        (quantity.number, 0, "0"),
        (quantity.times, 12.04, "12.0×"),
        (quantity.times, 0.4, "0.40×"),
        (quantity.percent, 0.9931, "99.3%"),
        (quantity.percent, 1.0, "100.0%"),
        (quantity.milliseconds, 0.256, "0.26 ms"),
        (quantity.milliseconds, 11.52, "11.5 ms"),
        (quantity.milliseconds, 1234.5, "1,234 ms"),
        (quantity.size, 90_869_492, "87 MiB"),
        (quantity.size, 5 << 19, "2.5 MiB"),
        (quantity.size, 25_276_502_016, "23.5 GiB"),
    ],
)
def test_quantities_have_units_and_digits_that_mean_something(
    write: Callable[[Any], str], value: float, text: str
) -> None:
    assert write(value) == text


@pytest.mark.parametrize(
    "write", [quantity.number, quantity.times, quantity.percent, quantity.milliseconds]
)
def test_what_is_not_known_is_a_dash(write: Callable[[None], str]) -> None:
    assert write(None) == "–"


@pytest.mark.parametrize(("share", "text"), [(0.9996, "99.96%"), (0.0002, "0.02%"), (0.0, "0.0%")])
def test_nearly_all_is_not_all(share: float, text: str) -> None:
    assert quantity.percent(share) == text
