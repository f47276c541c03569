"""Defines the part of a picture that is searched with: a box in millionths of the upright picture's sides.

Millionths are whole numbers, so that equal crops are equal texts, in keys of rows and in searches. Of all boxes that select the
same pixels, one is stored. A millionth is less than a tenth of a pixel in any picture that is taken. A box around the whole
picture is no crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from searches.pictures.exceptions import BadPicture

WHOLE = 1_000_000
SIDES = ("x", "y", "width", "height")


class BadCrop(BadPicture):
    """The box selects no pixel of this picture."""

    field = "crop"


@dataclass(frozen=True)
class Crop:
    """Holds a box in millionths of the upright picture's width and height. As text it is "x,y,width,height"; empty for all."""

    x: int = 0
    y: int = 0
    width: int = WHOLE
    height: int = WHOLE

    @classmethod
    def of(cls, fractions: Mapping[str, float]) -> Crop:
        """Rounds fractions to a crop. A box that ends less than a millionth outside ends at the edge, as 1/3 + 2/3 may."""
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
        """Returns left, top, right and bottom in pixels, each rounded to the nearest. Raises `BadCrop` for less than a pixel."""
        width, height = size
        if self.width * width < WHOLE or self.height * height < WHOLE:
            detail = f"Holds less than one pixel of this picture of {width} × {height}; make it larger."
            raise BadCrop("too_small", detail)
        left, right = _edges(self.x, self.width, width)
        top, bottom = _edges(self.y, self.height, height)
        return left, top, right, bottom

    def in_pixels(self, size: tuple[int, int]) -> Crop:
        """Returns the crop that is stored for these pixels: it encloses them, so that it can be sent again. Raises `BadCrop`."""
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
