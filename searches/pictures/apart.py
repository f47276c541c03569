"""Reads in a process of its own what is not safe to read in ours.

The decoders of HEIC and AVIF believe a size hidden in the stream, beside the one that the header shows, and a mistake in one of
them would end a web server with all its requests; Pillow reads packed BMPs pixel by pixel in Python, for seconds. So each
such file gets a `decoder` with a limit of memory and of time, at the cost of its start: some 60 ms.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from searches.pictures.containers import BadPicture, too_long, too_many_pixels, truncated, unreadable

FORMATS = ("HEIC", "AVIF", "BMP")
PROGRAM = Path(__file__).with_name("decoder.py")
# 50 megapixels take 1 to 3 s, those of 10 bits or with transparency too, and less than 0.9 GB of addresses.
SECONDS = 20.0
MEMORY_BYTES = 1_200_000_000


@dataclass(frozen=True, kw_only=True)
class Read:
    """Pixels in RGB or RGBA, as they lie in the file. `orientation` is EXIF's, `profile` empty where there is none."""

    pixels: Image.Image
    orientation: int
    profile: bytes


def read(format: str, content: bytes, *, most_pixels: int, longest_side: int) -> Read:
    """Raises `BadPicture`."""
    # -I and no environment: nothing from outside changes what it loads, or lifts its decoders' own limits.
    command = [sys.executable, "-I", str(PROGRAM), format, *map(str, (MEMORY_BYTES, most_pixels, longest_side))]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=SECONDS, env={}, check=False)
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
