"""Rows of a plot: a name and a band beside it; on a phone the name stands above its band."""

from __future__ import annotations

from collections.abc import Sequence

from labelmill.pages import svg
from labelmill.pages.markup import Markup, join

#: Pixels of a row, and from its top to the middle of its band, wide and narrow.
_WIDE, _NARROW = (28, 14), (44, 29)

#: Pixels between names and bands.
_GAP = 14

#: Most that names take: this share of the width, or so many pixels where that is more.
_NAME_SHARE, _NAME_PX = 0.26, 150.0


class Rows:
    """Where the rows of a drawing lie.

    Args:
        names: one a row, from the top.
        width: pixels of the drawing.
        room: pixels kept free right of the bands, for text.
    """

    def __init__(self, names: Sequence[str], width: float, room: float) -> None:
        self.narrow = width < svg.NARROW_PX
        self._height, self._middle = _NARROW if self.narrow else _WIDE
        widest = max(map(svg.name_width, names), default=0.0)
        most = max(width * _NAME_SHARE, _NAME_PX)
        #: Pixels from the left at which bands begin.
        self.left = 1.0 if self.narrow else min(widest + _GAP, most)
        #: Pixels from the left at which they end.
        self.right = width - room
        self._count = len(names)
        #: Pixels from the top at which the last row ends.
        self.bottom = float(len(names) * self._height)
        self._width = width

    def middle(self, row: int) -> float:
        """Pixels from the top to the middle of the row's band."""
        return float(row * self._height + self._middle)

    def base(self) -> Markup:
        """The line at which bands begin; on a phone not through the names."""
        if not self.narrow:
            return svg.line(self.left, 0, self.left, self.bottom, "base")
        half = self._height - self._middle - 3
        middles = map(self.middle, range(self._count))
        ends = ((at - half, at + half) for at in middles)
        return join(*(svg.line(self.left, top, self.left, end, "base") for top, end in ends))

    def name(self, row: int, name: str, strong: bool) -> Markup:
        """The name of a row, in full under the pointer where there is no room for it."""
        kind = "name halo strong" if strong else "name halo"
        room = self._width if self.narrow else self.left - _GAP
        shown = svg.fitting(name, room)
        if self.narrow:
            words = svg.words(shown, 0, self.middle(row) - 14, kind)
        else:
            words = svg.words(shown, self.left - _GAP, self.middle(row) + 4, kind, "end")
        return words if shown == name else svg.group(words, hint=name)
