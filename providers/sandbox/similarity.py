"""Measures how similar two pictures look, by their light, their colours and their edges, and where these are.

A description of a picture has 352 bytes. The descriptions of the catalogue are the rows of one grey image, so that Pillow
compares a picture with all of them at once, in C.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from io import BytesIO

from PIL import Image, ImageChops, ImageFilter

GRID = (8, 8)
MOST_PIXELS = 50_000_000
BOX = Image.Resampling.BOX


class NotAPicture(Exception):
    """The bytes are not a picture of the stated format."""


def decode(content: bytes, format: str) -> Image.Image:
    """Returns the picture in RGB. Raises `NotAPicture`, before decoding if it has more than 50 megapixels."""
    try:
        picture = Image.open(BytesIO(content), formats=[format])
        if picture.width * picture.height > MOST_PIXELS:
            raise NotAPicture
        picture.draft("RGB", (256, 256))
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise NotAPicture from None


def describe(picture: Image.Image) -> bytes:
    small = picture.resize((32, 32), BOX)
    layout = small.convert("YCbCr").resize(GRID, BOX).tobytes()
    edges = small.convert("L").filter(ImageFilter.FIND_EDGES).crop((1, 1, 31, 31)).resize(GRID, BOX).tobytes()
    counts = small.histogram()
    shares = bytes(min(255, sum(counts[start : start + 32]) // 4) for start in range(0, 768, 32))
    return layout + edges + shares * 4


class Gallery:
    """The descriptions of many pictures."""

    def __init__(self, descriptions: Iterable[bytes]) -> None:
        rows = list(descriptions)
        self.size = (len(rows[0]), len(rows))
        self.rows = Image.frombytes("L", self.size, b"".join(rows))

    def distances(self, description: bytes) -> list[float]:
        """Returns the distance to each picture, in their order. The distance to an equal picture is 0."""
        row = Image.frombytes("L", (len(description), 1), description).resize(self.size, Image.Resampling.NEAREST)
        differences = ImageChops.difference(self.rows, row).convert("F")
        return array("f", differences.resize((1, self.size[1]), BOX).tobytes()).tolist()
