from __future__ import annotations

from itertools import combinations

import pytest

from labelmill.pages.labels import Box, Point, leader, place

BOUNDS = Box(50, 30, 350, 390)


def inside(box: Box) -> bool:
    return box.overlap(BOUNDS) == pytest.approx((box.right - box.left) * (box.bottom - box.top))


def test_a_lonely_point_has_its_label_beside_or_above_it() -> None:
    point = Point(200, 200, 80)
    (box,) = place([point], BOUNDS)
    assert inside(box)
    assert leader(point, box) is None


def test_labels_of_a_crowd_cover_neither_points_nor_each_other() -> None:
    crowd = [Point(80 + 25 * number, 110, 120) for number in range(6)]
    boxes = place(crowd, BOUNDS)
    assert all(map(inside, boxes))
    assert all(a.overlap(b) == 0 for a, b in combinations(boxes, 2))
    points = [Box(point.x - 5, point.y - 5, point.x + 5, point.y + 5) for point in crowd]
    assert all(label.overlap(point) == 0 for label in boxes for point in points)


@pytest.mark.parametrize("corner", [(50, 30), (350, 30), (50, 390), (350, 390)])
def test_labels_stay_within_the_plot(corner: tuple[int, int]) -> None:
    assert all(map(inside, place([Point(*corner, 120)], BOUNDS)))


def test_more_labels_than_there_is_room_for_are_still_placed() -> None:
    boxes = place([Point(60, 40, 60)] * 30, Box(50, 30, 120, 60))
    assert len(boxes) == 30


def test_a_label_far_from_its_point_gets_a_line() -> None:
    assert leader(Point(100, 100, 40), Box(90, 140, 130, 155)) == (100, 140)
