from __future__ import annotations

import pytest

from labelmill.client.bench.figures import Raw, Run, figures, percentile


def raw(name: str = "onnx-int8", **changes: object) -> Raw:
    fields = {
        "name": name,
        "indices": [0, 1, 2, 3],
        "seconds": [2.0, 1.0, 4.0],
        "labels": ["a", "b", "a", "b"],
        "alone_positions": [0, 2],
        "alone_labels": ["a", "b"],
        "alone_ms": [3.0, 5.0],
        "load_seconds": 1.5,
        "peak_bytes": 100,
        "file_bytes": 10,
        "padding_waste": 0.25,
    }
    return Raw(**{**fields, **changes})  # type: ignore[arg-type]


RUN = Run(
    truth=["a", "b", "b", "b", "a"],
    token_counts=[10, 20, 30, 40, 1000],
    macs_per_token=1_000,
    ceiling=400_000.0,
)


def test_rates_are_the_median_round_over_the_contenders_own_texts() -> None:
    row = figures(raw(), RUN, None)
    assert (row.texts_per_second_min, row.texts_per_second, row.texts_per_second_max) == (1, 2, 4)
    assert row.round_texts_per_second == [2, 4, 1]
    assert row.tokens_per_second == 50
    assert row.peak_share == pytest.approx(50 * 1_000 / 400_000)


@pytest.mark.parametrize(("name", "ceiling"), [("onnx-fp32", 1.0), ("onnx-int8", None)])
def test_there_is_no_share_of_a_ceiling_that_does_not_apply(
    name: str, ceiling: float | None
) -> None:
    run = Run(RUN.truth, RUN.token_counts, RUN.macs_per_token, ceiling)
    assert figures(raw(name), run, None).peak_share is None


def test_accuracy_is_over_the_texts_scored_and_absent_without_labels() -> None:
    assert figures(raw(), RUN, None).accuracy == 0.75
    assert figures(raw(), Run([], RUN.token_counts, 1, None), None).accuracy is None


def test_several_labels_count_whatever_their_order() -> None:
    run = Run(["b|a"], [1], 1, None)
    one = raw(indices=[0], labels=["a|b"], alone_positions=[0], alone_labels=["a|b"], alone_ms=[1])
    assert figures(one, run, None).accuracy == 1.0


def test_agreement_is_over_the_texts_that_both_scored() -> None:
    reference = raw("hf-pipeline-fp32", indices=[0, 3, 4], labels=["a", "a", "a"])
    row = figures(raw(), RUN, reference)
    assert (row.label_agreement, row.texts_compared) == (0.5, 2)
    alone = figures(raw(), RUN, None)
    assert (alone.label_agreement, alone.texts_compared) == (None, None)


def test_a_flip_is_another_label_alone_than_in_the_batch() -> None:
    row = figures(raw(), RUN, None)
    assert (row.batch_flips, row.texts_alone) == (1, 2)


def test_the_json_has_four_digits_everywhere() -> None:
    row = figures(raw(seconds=[3.0, 3.0], alone_ms=[1 / 3, 2 / 3]), RUN, None).to_json()
    assert row["texts_per_second"] == 1.3333
    assert row["round_texts_per_second"] == [1.3333, 1.3333]
    assert (row["alone_ms"]["p1"], row["alone_ms"]["p99"]) == (0.3333, 0.6667)


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (99, 10), (100, 10), (1, 1)])
def test_percentiles_are_nearest_rank(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(10, 0, -1)], percent) == value
