from __future__ import annotations

import pytest

from labelmill.pages.scale import Linear, Log, from_zero, tick_labels


def test_a_linear_scale_keeps_differences_and_a_log_scale_ratios() -> None:
    linear, log = Linear(0, 10, 100, 200), Log(1, 100, 0, 50)
    assert [linear(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert [log(value) for value in (1, 10, 100)] == pytest.approx([0, 25, 50])


def test_a_scale_may_run_upwards() -> None:
    assert Linear(0.9, 1, 300, 0)(0.95) == pytest.approx(150)


@pytest.mark.parametrize(
    ("scale", "most", "ticks"),
    [
        (Linear(0, 953, 0, 1), 5, [0, 200, 400, 600, 800]),
        (Linear(0.94, 1, 0, 1), 6, [0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0]),
        (Linear(0, 0.3, 0, 1), 3, [0, 0.1, 0.2, 0.3]),
        (Log(0.7, 22, 0, 1), 5, [1, 2, 5, 10, 20]),
        (Log(0.7, 22, 0, 1), 4, [1, 10]),
        (Log(1, 1e9, 0, 1), 4, [1, 1e3, 1e6, 1e9]),
    ],
)
def test_ticks_are_round_and_within_the_scale(
    scale: Linear | Log, most: int, ticks: list[float]
) -> None:
    assert scale.ticks(most) == pytest.approx(ticks)


def test_ticks_have_the_digits_their_distance_needs() -> None:
    assert tick_labels([0, 0.5, 1]) == ["0.0", "0.5", "1.0"]
    assert tick_labels([0, 1000, 2000]) == ["0", "1,000", "2,000"]
    assert tick_labels([0.5, 1, 2, 5000]) == ["0.5", "1", "2", "5,000"]
    assert tick_labels([0.5], unit=lambda tick: f"{tick} s") == ["0.5 s"]


@pytest.mark.parametrize("values", [[], [0.0, 0.0]])
def test_bars_of_nothing_still_have_a_scale(values: list[float]) -> None:
    assert from_zero(values, 10, 20)(0) == 10
