"""Which part of a picture is searched with: a box, in fractions of the upright picture, kept in millionths.

Whole numbers, so that equal crops are equal texts, in a row's key and for whoever compares two searches: of all that cut
out the same pixels, one is kept. A millionth is less than a tenth of a pixel in any picture that is taken. A box that is
the whole picture is no crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from searches.pictures.exceptions import BadPicture

WHOLE = 1_000_000
SIDES = ("x", "y", "width", "height")


class BadCrop(BadPicture):
    """A box that this picture has no pixel for."""

    field = "crop"


@dataclass(frozen=True)
class Crop:
    """In millionths of the upright picture's width and height. Its text is "x,y,width,height", empty where all is meant."""

    x: int = 0
    y: int = 0
    width: int = WHOLE
    height: int = WHOLE

    @classmethod
    def of(cls, fractions: Mapping[str, float]) -> Crop:
        """What reaches over an edge by less than a millionth ends at it: 1/3 and 2/3 need not add up to 1."""
        x, y, width, height = (round(fractions[side] * WHOLE) for side in SIDES)
        return cls(x, y, min(width, WHOLE - x), min(height, WHOLE - y))

    @classmethod
    def parse(cls, text: str) -> Crop:
        return cls(*map(int, text.split(","))) if text else cls()

    def __str__(self) -> str:
        return "" if self == Crop() else ",".join(map(str, astuple(self)))

    def fractions(self) -> dict[str, float] | None:
        return None if self == Crop() else {side: getattr(self, side) / WHOLE for side in SIDES}

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in pixels, each edge the nearest. Raises `BadCrop` below a pixel."""
        width, height = size
        if self.width * width < WHOLE or self.height * height < WHOLE:
            raise BadCrop(
                "too_small", f"Holds less than one pixel of this picture of {width} × {height}; make it larger."
            )
        left, right = _edges(self.x, self.width, width)
        top, bottom = _edges(self.y, self.height, height)
        return left, top, right, bottom

    def in_pixels(self, size: tuple[int, int]) -> Crop:
        """The one that is kept for these pixels; never less than they are, so that it can be sent again. Raises `BadCrop`."""
        left, top, right, bottom = self.box(size)
        x, x_end = _millionths(left, right, size[0])
        y, y_end = _millionths(top, bottom, size[1])
        return Crop(x, y, x_end - x, y_end - y)


def _millionths(start: int, end: int, pixels: int) -> tuple[int, int]:
    return start * WHOLE // pixels, -(-end * WHOLE // pixels)


def _edges(start: int, length: int, pixels: int) -> tuple[int, int]:
    return _nearest(start * pixels), _nearest((start + length) * pixels)


def _nearest(millionths: int) -> int:
    return (millionths + WHOLE // 2) // WHOLE
