"""Decodes the kinds of BMP that programs write and Pillow refuses: bit fields of any mask, and two bits a pixel.

Pixels are computed in Pillow's own loops, a channel at a time, so that such a file costs no more than one that Pillow reads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL import Image, ImageMath

from searches.pictures.exceptions import other_bmp

# The start of Pillow's message for a kind that it does not read.
NOT_READ = "Unsupported BMP"
BITFIELDS, ALPHA_BITFIELDS = 3, 6
# Headers of at least this length contain the fourth mask.
WITH_ALPHA = 56
# Lengths of OS/2's headers, in which the same numbers mean something else.
OTHER_HEADERS = (12, 64)
MASKS_AT = 54
# Pillow's mode and raw mode for whole words, by bits a pixel.
WORDS = {16: ("I;16", "I;16"), 32: ("I", "I;32")}


@dataclass(frozen=True, kw_only=True)
class _Header:
    length: int
    start: int
    size: tuple[int, int]
    direction: int
    depth: int
    packing: int
    colours: int

    @property
    def row_bytes(self) -> int:
        return (self.size[0] * self.depth + 31) // 32 * 4


def decoded(content: bytes) -> Image.Image:
    """Decodes a file whose header and length `containers` has judged. Raises `BadPicture` for a kind that no program reads."""
    header = _header(content)
    if header.length in OTHER_HEADERS:
        raise other_bmp()
    if header.depth == 2 and header.packing == 0:
        return _with_palette(header, content)
    if header.depth in WORDS and header.packing in {BITFIELDS, ALPHA_BITFIELDS}:
        return _by_masks(header, content)
    raise other_bmp()


def _header(content: bytes) -> _Header:
    start, length, width, height, _, depth, packing = struct.unpack_from("<IIiiHHI", content, 10)
    (colours,) = struct.unpack_from("<I", content, 46)
    return _Header(
        length=length,
        start=start,
        size=(width, abs(height)),
        direction=-1 if height > 0 else 1,
        depth=depth,
        packing=packing,
        colours=colours,
    )


def _rows(header: _Header, content: bytes, mode: str, raw: str) -> Image.Image:
    rows = memoryview(content)[header.start : header.start + header.row_bytes * header.size[1]]
    return Image.frombytes(mode, header.size, rows, "raw", raw, header.row_bytes, header.direction)


def _with_palette(header: _Header, content: bytes) -> Image.Image:
    image = _rows(header, content, "P", "P;2")
    start = 14 + header.length
    entries = content[start : min(header.start, start + 4 * min(header.colours or 4, 4))]
    image.putpalette(entries[: len(entries) // 4 * 4].ljust(16, b"\0"), "BGRX")
    return image


def _by_masks(header: _Header, content: bytes) -> Image.Image:
    with_alpha = header.packing == ALPHA_BITFIELDS or header.length >= WITH_ALPHA
    masks = [*struct.unpack_from("<IIII" if with_alpha else "<III", content, MASKS_AT)]
    if not any(masks[:3]) or not all(map(_is_one_run, masks)):
        raise other_bmp()
    words = _rows(header, content, *WORDS[header.depth])
    if header.depth == 16:
        words = words.convert("I")
    if with_alpha and not masks[3]:
        del masks[3]
    return Image.merge("RGBA" if len(masks) == 4 else "RGB", [_channel(words, mask) for mask in masks])


def _is_one_run(mask: int) -> bool:
    """Returns whether the bits of a mask are contiguous. A mask without bits is right too."""
    return mask & (mask + (mask & -mask)) == 0


def _channel(words: Image.Image, mask: int) -> Image.Image:
    """Returns the values that a mask selects, scaled to 0 to 255."""
    if not mask:
        return Image.new("L", words.size)
    shift = (mask & -mask).bit_length() - 1
    width = mask.bit_length() - shift
    # A mask with more than eight bits counts by its upper eight, as in 16-bit pictures.
    shift, most = shift + max(0, width - 8), (1 << min(width, 8)) - 1
    found = ImageMath.lambda_eval(
        lambda named: named["convert"]((((named["words"] >> shift) & most) * 255 + most // 2) / most, "L"), words=words
    )
    assert isinstance(found, Image.Image)
    return found
