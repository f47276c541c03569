"""Finds JPEGs whose scans were cut, even if a program has put an end marker behind the cut.

A decoder shows missing data as grey, or coarser, without an error if it finds an end marker. Without the marker it asks for more
data, so a single decode finds a cut in a large picture of one sequential scan (`open_ended`). It misses at most the last
7 bytes, which are part of the last square of 16 pixels.

Any other file is decoded twice: only a decoder that lacks data reads what is before the end marker, so a file is whole if a
filler there changes none of its pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from PIL import Image

from searches.pictures import strips
from searches.pictures.containers import JPEG_END, JPEG_FRAMES, JPEG_MARKER, JPEG_SCAN

END = b"\xff\xd9"
# Bytes without 0xFF, which would begin a marker, and mixed, so that every Huffman table decodes something from them.
FILLER = bytes(1 + value * 151 % 254 for value in range(1024))
PROGRESSIVE = (0xC2, 0xCA)
# Frames of one pass with Huffman codes, baseline or extended.
SEQUENTIAL = (0xC0, 0xC1)
# A decoder of libjpeg-turbo fills a buffer of 64 bits as long as a byte fits, and so reads this far ahead of what it decodes.
BYTES_AHEAD = 7
# In a smaller picture a single square is seen, and two decodes take less than 2 ms.
LEAST_PIXELS = 300_000
# The segment with the number of units between two restart markers, and such a marker.
RESTARTS, RESTART = 0xDD, re.compile(rb"\xff[\xd0-\xd7]")


def open_ended(content: bytes, pixels: int) -> bytes | None:
    """Returns a large stripped JPEG of one sequential scan without its end marker, so that its decoder fails if it lacks data.

    Returns None for any other: a decoder of several scans waits for the marker.
    """
    frames, count = set(), 0
    for kind, _, _ in _segments(content):
        frames |= {kind} & set(JPEG_FRAMES)
        count += kind == JPEG_SCAN[0]
    if pixels < LEAST_PIXELS or count != 1 or not frames <= set(SEQUENTIAL):
        return None
    return _without_end(content) + FILLER[:BYTES_AHEAD]


def filled(content: bytes) -> bytes:
    """Returns a stripped JPEG with a filler before its end."""
    return _without_end(content) + FILLER + END


def _without_end(content: bytes) -> bytes:
    """Removes the end marker, and the bytes 0xFF that may fill up before it: with the filler they would begin another marker."""
    return content.removesuffix(END).rstrip(b"\xff")


def is_cut(content: bytes, image: Image.Image, of_filled: Image.Image) -> bool:
    """Returns whether the scans of a stripped JPEG end before the picture does.

    `image` has its decoded pixels, `of_filled` those of the filled file.
    """
    headers = _Headers()
    for kind, segment, data in _segments(content):
        headers.look(kind, segment, data)
    if headers.lacking or headers.fewer_restarts:
        return True
    return not strips.are_equal(image, of_filled)


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields each segment's marker, its content, and the bytes between it and the next marker, which are a scan's data."""
    at, before = 2, None
    while marker := JPEG_MARKER.search(content, at):
        if before is not None:
            yield (*before, content[at : marker.start()])
        if marker[1] == JPEG_END:
            return
        at = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
        before = marker[1][0], content[marker.end() + 2 : at]


class _Headers:
    """Collects the facts in the headers of the frame and the scans.

    `lacking`: the coefficients (component's name, number) of which no scan has the last bits. `fewer_restarts`: a scan has fewer
    restart markers than its number of units needs.
    """

    def __init__(self) -> None:
        self.size = 0, 0
        self.sampling: dict[int, tuple[int, int]] = {}
        self.progressive = False
        self.lacking: set[tuple[int, int]] = set()
        self.restart_every = 0
        self.fewer_restarts = False

    def look(self, kind: int, segment: bytes, data: bytes) -> None:
        if kind == RESTARTS and len(segment) >= 2:
            self.restart_every = int.from_bytes(segment[:2])
        elif kind in JPEG_FRAMES and len(segment) >= 9:
            self.progressive = kind in PROGRESSIVE
            self.size = int.from_bytes(segment[3:5]), int.from_bytes(segment[1:3])
            components = [segment[at : at + 3] for at in range(6, len(segment) - 2, 3)]
            self.sampling = {name: (max(1, both >> 4), max(1, both & 15)) for name, both, _ in components}
            places = range(64) if self.progressive else range(1)
            self.lacking = {(name, place) for name in self.sampling for place in places}
        elif kind == JPEG_SCAN[0] and len(segment) >= 6:
            names = list(segment[1:-3:2])
            start, end, bits = segment[-3:] if self.progressive else (0, 0, 0)
            if not bits & 15:
                self.lacking -= {(name, place) for name in names for place in range(start, end + 1)}
            if self.restart_every and set(names) <= set(self.sampling):
                meant = (self._units(names) - 1) // self.restart_every
                self.fewer_restarts |= len(RESTART.findall(data)) < meant

    def _units(self, names: list[int]) -> int:
        """Counts the units of a scan of these components: blocks of a single component, or squares of several."""
        across, down = (max(both[side] for both in self.sampling.values()) for side in (0, 1))
        width, height = self.size
        if len(names) == 1:
            own_across, own_down = self.sampling[names[0]]
            width, height = -(-width * own_across // across), -(-height * own_down // down)
            across = down = 1
        return -(-width // (8 * across)) * -(-height // (8 * down))
