"""Where names of points go so that they cover neither points nor each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

#: Pixels.
_HEIGHT, _POINT, _MARGIN = 15.0, 6.5, 3.0

#: Distances tried from a point to the middle of its label, up and down, nearest first.
_RISES = (0, 16, -16, 30, -30, 46, -46, 62, -62, 78, -78, 94, -94, 110, -110)

#: Shares of a label above or below its point that stand left of it.
_SHIFTS = (0.5, 0.35, 0.65, 0.2, 0.8, 0.05, 0.95)

#: How often each label chooses its place.
_PASSES = 3

#: A label further than this from its point gets a line to it, pixels.
_LEADER_FROM = 12.0

#: A square pixel of overlap costs as much as this many pixels of distance.
_OVERLAP_COST = 40.0

#: The end of a label keeps so many pixels from points that are not its own; a square pixel less
#: costs as much as this many pixels of distance.
_CLEAR, _NEAR_COST = 12.0, 0.8


class Box(NamedTuple):
    """A rectangle, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Square pixels that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, wide) * max(0.0, high)


class Point(NamedTuple):
    """A point with the width of its label, in pixels."""

    x: float
    y: float
    width: float


def place(points: Sequence[Point], bounds: Box) -> list[Box]:
    """A box for each point's label, within `bounds`, near it.

    One after the other chooses its place, and chooses again when it sees where the others went, in
    several orders; the best outcome counts. Where there is no free place, the least covered one is
    taken.
    """
    across = sorted(range(len(points)), key=lambda index: points[index].x)
    orders = (across, across[::-1], across[1::2] + across[::2])
    return min((_settled(points, bounds, order) for order in orders), key=lambda found: found[1])[0]


def _settled(points: Sequence[Point], bounds: Box, order: Sequence[int]) -> tuple[list[Box], float]:
    """Labels placed in `order`, and what their places cost together."""
    marks = [Box(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y, _ in points]
    candidates = [_candidates(point, bounds) for point in points]
    placed: dict[int, Box] = {}
    costs: dict[int, float] = {}
    for index in [*order] * _PASSES:
        strangers = [mark for other, mark in enumerate(marks) if other != index]
        labels = [box for other, box in placed.items() if other != index]
        leaders = [_leader(points[other], box) for other, box in placed.items() if other != index]
        cost = partial(_cost, points[index], strangers, labels, leaders)
        placed[index], costs[index] = _cheapest(points[index], candidates[index], cost)
    return [placed[index] for index in range(len(points))], sum(costs.values())


def _cheapest(
    point: Point, candidates: Sequence[Box], cost: Callable[[Box], float]
) -> tuple[Box, float]:
    """The box of least cost, and that cost, which is never below its distance from the point."""
    best, least = candidates[0], cost(candidates[0])
    for box in candidates[1:]:
        if distance(point, box) >= least:
            break
        if (this := cost(box)) < least:
            best, least = box, this
    return best, least


def _candidates(point: Point, bounds: Box) -> list[Box]:
    """Places for the label of a point, the nearest first."""
    x, y, width = point
    beside = _POINT + _MARGIN
    lefts = [x + beside, x - beside - width, *(x - width * share for share in _SHIFTS)]
    boxes = []
    for rise in _RISES:
        # Level with its point a label can only stand beside it.
        for left in lefts if rise else lefts[:2]:
            clamped = min(max(left, bounds.left), bounds.right - width)
            top = y - rise - _HEIGHT / 2
            if bounds.top <= top and top + _HEIGHT <= bounds.bottom:
                boxes.append(Box(clamped, top, clamped + width, top + _HEIGHT))
    # No room above or below: at least within the drawing.
    top = min(max(y - _HEIGHT / 2, bounds.top), bounds.bottom - _HEIGHT)
    boxes.sort(key=partial(distance, point))
    return boxes or [Box(bounds.right - width, top, bounds.right, top + _HEIGHT)]


def _cost(
    point: Point,
    strangers: Sequence[Box],
    labels: Sequence[Box],
    leaders: Sequence[Box],
    box: Box,
) -> float:
    """Of a label in `box`: it is to cover nothing, to cross nothing and to be near no stranger."""
    grown = Box(box.left - _MARGIN, box.top, box.right + _MARGIN, box.bottom)
    own = Box(point.x - _POINT, point.y - _POINT, point.x + _POINT, point.y + _POINT)
    covered = sum(map(grown.overlap, (*strangers, *labels, *leaders, own)))
    crossed = sum(map(_leader(point, box).overlap, (*strangers, *labels)))
    wide = Box(box.left - _CLEAR, box.top - 1, box.right + _CLEAR, box.bottom + 1)
    near = sum(map(wide.overlap, strangers))
    return (covered + crossed) * _OVERLAP_COST + near * _NEAR_COST + distance(point, box)


def leader(point: Point, box: Box) -> tuple[float, float] | None:
    """Where on the edge of `box` a line from the point ends; None where it stands close enough."""
    if distance(point, box) < _LEADER_FROM:
        return None
    x = min(max(point.x, box.left), box.right)
    return x, min(max(point.y, box.top), box.bottom)


def _leader(point: Point, box: Box) -> Box:
    """What the line to a label covers; nothing where there is none."""
    x, y = leader(point, box) or point[:2]
    return Box(min(x, point.x) - 1, min(y, point.y), max(x, point.x) + 1, max(y, point.y))


def distance(point: Point, box: Box) -> float:
    """Pixels from the point to the nearest edge of the box."""
    wide = max(box.left - point.x, point.x - box.right, 0.0)
    high = max(box.top - point.y, point.y - box.bottom, 0.0)
    return float((wide**2 + high**2) ** 0.5)
