"""Finds PNGs whose rows were cut, even if a program has put a correct end behind the cut.

Pillow accepts a stream that ends early with a correct checksum: missing rows stay black or transparent. So the bytes of the
rows are counted, up to the number that the header promises. The decoders of GIF, BMP and WebP refuse cut files themselves.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from searches.pictures.stripping import png_chunks

# Values a pixel, by the header's number for the kind of colour.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# The passes of Adam7: first column, first row, step to the next column, step to the next row.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
WHOLE = ((0, 0, 1, 1),)
# At most this much of the unpacked stream is held at a time.
UNPACKED_AT_ONCE = 1 << 20
# zlib copies the packed bytes that it has not used yet, each time, so it gets few at a time.
FED_AT_ONCE = 1 << 16


def are_cut(content: bytes, image: Image.Image) -> bool:
    """Returns whether the stream of a stripped PNG, whose decoded pixels are `image`, ends before its rows do."""
    width, height, depth, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    # Pillow writes the rows in order, over black. If the last row is not empty, none is missing, and nothing need be counted.
    last = 0, height - 1, width, height
    if not interlaced and image.crop(last).getbbox(alpha_only=False) is not None:
        return False
    bits, passes = depth * CHANNELS[colours], PASSES if interlaced else WHOLE
    return not _has(content, sum(_bytes_of(width, height, bits, each) for each in passes))


def _bytes_of(width: int, height: int, bits: int, part: tuple[int, int, int, int]) -> int:
    """Counts the bytes of one pass: each row begins with a byte for its filter; a pass without pixels has no bytes."""
    left, top, across, down = part
    columns, rows = -(-(width - left) // across), -(-(height - top) // down)
    return rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0


def _has(content: bytes, promised: int) -> bool:
    """Returns whether the stream unpacks to at least so many bytes before it ends or breaks."""
    stream, left = zlib.decompressobj(), promised
    try:
        for packed in _pieces(content):
            tail = packed
            while left > 0 and (more := stream.decompress(tail, min(left, UNPACKED_AT_ONCE))):
                left -= len(more)
                tail = stream.unconsumed_tail
            if left <= 0 or stream.eof:
                break
    except zlib.error:
        return False
    return left <= 0


def _pieces(content: bytes) -> Iterator[bytes]:
    for kind, data, _ in png_chunks(content):
        if kind == b"IDAT":
            yield from (data[start : start + FED_AT_ONCE] for start in range(0, len(data), FED_AT_ONCE))
