from __future__ import annotations

from labelmill.worker.engines.shapes import rounded

LONGEST, MOST = 128, 512
SHAPES = [(rows, width) for width in range(3, LONGEST + 1) for rows in range(1, MOST // width + 1)]


def test_everything_fits_and_little_is_added() -> None:
    for rows, width in SHAPES:
        more_rows, wider = rounded(rows, width, LONGEST)
        assert rows <= more_rows
        assert width <= wider <= LONGEST
        assert more_rows * wider - rows * width <= min(rows * width / 16, 32)


def test_few_shapes_are_left() -> None:
    assert len({rounded(*shape, LONGEST) for shape in SHAPES}) < len(SHAPES) / 2
    assert len({rounded(1, width, LONGEST) for width in range(3, LONGEST + 1)}) < 60


def test_a_rounded_shape_stays_as_it_is_or_grows_little() -> None:
    assert rounded(16, 32, LONGEST) == (16, 32)
    assert rounded(1, LONGEST, LONGEST) == (1, LONGEST)
