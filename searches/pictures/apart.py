"""Reads in a process of its own what is not safe to read in ours.

The decoders of HEIC and AVIF believe a size hidden in the stream, beside the one that the header shows, and a mistake in one of
them would end a web server with all its requests; Pillow reads packed BMPs pixel by pixel in Python, for seconds. So each
such file gets a `decoder` with a limit of memory and of time, at the cost of its start: some 60 ms.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice
from math import inf
from pathlib import Path

from PIL import Image

from searches.pictures.containers import BadPicture, too_long, too_many_pixels, truncated, unreadable

FORMATS = ("HEIC", "AVIF", "BMP")
PROGRAM = Path(__file__).with_name("decoder.py")
# A box that tells a size (length 20, no flags); a picture that is made of tiles has one for each kind, and one for the whole.
SIZE_BOX = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(.{4})(.{4})", re.DOTALL)
MAX_SIZE_BOXES = 1000


@dataclass(frozen=True, kw_only=True)
class Bound:
    seconds: float
    memory_bytes: int


# 50 megapixels take 1 to 5 s, those of 10 bits or with transparency too, and less than 0.9 GB of addresses.
LARGE = Bound(seconds=8, memory_bytes=1_200_000_000)
# For one whose header says that it is small, whatever its stream hides.
SMALL = Bound(seconds=5, memory_bytes=400_000_000)


@dataclass(frozen=True, kw_only=True)
class Read:
    """Pixels in RGB or RGBA, as they lie in the file. `orientation` is EXIF's, `profile` empty where there is none."""

    pixels: Image.Image
    orientation: int
    profile: bytes


def pixels_told(format: str, content: bytes) -> float:
    """As many as the header says, of what may be several; without end where it does not say so plainly. `judge` has seen it."""
    if format == "BMP":
        sides: tuple[int, int] = struct.unpack_from("<HH" if content[14] == 12 else "<ii", content, 18)
        return abs(sides[0] * sides[1])
    sizes = [match.groups() for match in islice(SIZE_BOX.finditer(content), MAX_SIZE_BOXES + 1)]
    if not sizes or len(sizes) > MAX_SIZE_BOXES:
        return inf
    return max(int.from_bytes(width) * int.from_bytes(height) for width, height in sizes)


def read(format: str, content: bytes, *, most_pixels: int, longest_side: int, bound: Bound) -> Read:
    """Raises `BadPicture`."""
    # -I and no environment: nothing from outside changes what it loads, or lifts its decoders' own limits.
    command = [sys.executable, "-I", str(PROGRAM), format, *map(str, (bound.memory_bytes, most_pixels, longest_side))]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=bound.seconds, env={}, check=False)
    except subprocess.TimeoutExpired:
        raise BadPicture("too_costly", "The picture takes too long to read. Save it anew and send that.") from None
    if done.returncode:
        raise unreadable()
    return _understood(done.stdout, longest_side)


def _reason(refused: str, longest_side: int) -> BadPicture:
    if refused == "too_long":
        return too_long(longest_side)
    return {"truncated": truncated, "too_many_pixels": too_many_pixels}.get(refused, unreadable)()


def _understood(said: bytes, longest_side: int) -> Read:
    end = said.index(b"\n") + 1
    about = json.loads(said[:end])
    if "refused" in about:
        raise _reason(about["refused"], longest_side)
    profile = said[end : end + about["profile"]]
    rest = memoryview(said)[end + len(profile) :]
    # A view, for 150 MB are not copied for nothing; the stubs don't know that it serves.
    pixels = Image.frombuffer(about["mode"], (about["width"], about["height"]), rest, "raw", about["mode"], 0, 1)  # type: ignore[arg-type]
    return Read(pixels=pixels, orientation=about["orientation"], profile=profile)
