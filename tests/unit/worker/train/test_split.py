from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from labelmill.worker.train.split import HELD_OUT_SHARE, split

single = st.lists(st.integers(0, 5), min_size=1, max_size=200)
several = st.lists(
    st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True), min_size=1, max_size=200
)


@given(several, st.integers(0, 2**32 - 1))
def test_every_row_is_in_exactly_one_part(rows: list[list[int]], seed: int) -> None:
    parts = split(rows, 6, seed)
    assert sorted([*parts.train, *parts.validation, *parts.test]) == list(range(len(rows)))
    assert all(part == sorted(part) for part in parts)


@given(single, st.integers(0, 2**32 - 1))
def test_each_label_has_its_share_to_the_row(labels: list[int], seed: int) -> None:
    parts = split([(label,) for label in labels], 6, seed)
    whole = Counter(labels)
    for part in (parts.validation, parts.test):
        counts = Counter(labels[row] for row in part)
        for label, count in whole.items():
            share = max(1.0, count * HELD_OUT_SHARE) if count >= 3 else 0.0
            assert abs(counts[label] - share) <= 0.5
    trained = Counter(labels[row] for row in parts.train)
    assert all(trained[label] >= 1 for label in whole)


@given(several, st.integers(0, 10))
@settings(max_examples=20)
def test_the_same_seed_gives_the_same_split(rows: list[list[int]], seed: int) -> None:
    assert split(rows, 6, seed) == split(rows, 6, seed)


def test_another_seed_gives_another_split() -> None:
    rows = [(i % 2,) for i in range(100)]
    assert split(rows, 2, 1) != split(rows, 2, 2)


def test_the_order_of_the_rows_does_not_decide() -> None:
    """A file sorted by anything must not give a test split of its last rows."""
    parts = split([(0,)] * 500 + [(1,)] * 500, 2, 0)
    assert min(parts.test) < 100
    assert max(parts.test) > 900


def test_rare_labels_of_texts_with_several_reach_every_part() -> None:
    rows = [(0, 1) if i % 50 == 0 else (0,) for i in range(1000)]
    parts = split(rows, 2, 0)
    rare = [sum(1 in rows[row] for row in part) for part in parts]
    assert rare == [14, 3, 3]
    assert [len(part) for part in parts] == [700, 150, 150]
