"""A program: reads one picture from its input and writes its plain pixels, within a limit of memory, and then is gone.

`apart` runs it by its path, without the rest of Sightline. Its output is a line of JSON, the colour profile, and the pixels
by strips; or, of a file that is no good, a line with the reason alone.
"""

from __future__ import annotations

import json
import resource
import sys
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO

import pillow_heif
from PIL import AvifImagePlugin, Image
from PIL.ExifTags import Base as ExifTag

PILLOW_NAMES = {"HEIC": "HEIF", "AVIF": "AVIF", "BMP": "BMP"}
STRIP_PIXELS = 4_000_000
# It outlives whoever started it by no more.
CPU_SECONDS = 10


class Refused(Exception):
    pass


def bound(memory_bytes: int) -> None:
    """Of memory, time, files (none), and what a crash leaves. Where the system counts no memory, the time is left."""
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))
    Image.MAX_IMAGE_PIXELS = None  # the limit that is given is the one that counts
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


def decode(format: str, content: bytes, *, most_pixels: int, longest_side: int, out: BinaryIO) -> None:
    image = Image.open(BytesIO(content), formats=[PILLOW_NAMES[format]])
    if image.width * image.height > most_pixels:
        raise Refused("too_many_pixels")
    if max(image.size) > longest_side:
        raise Refused("too_long")
    image.load()
    # HEIC's decoder turns the picture itself, and says so here too.
    orientation = int(image.getexif().get(ExifTag.Orientation, 1))
    profile = image.info.get("icc_profile") or b""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    pixels = image if image.mode == mode else image.convert(mode)
    tell(out, mode=mode, width=pixels.width, height=pixels.height, orientation=orientation, profile=len(profile))
    out.write(profile)
    rows = max(1, STRIP_PIXELS // pixels.width)
    for top in range(0, pixels.height, rows):
        strip = pixels.crop((0, top, pixels.width, min(top + rows, pixels.height)))
        out.write(strip.tobytes())


def tell(out: BinaryIO, **said: str | int) -> None:
    out.write(json.dumps(said).encode() + b"\n")


def main() -> None:
    format, memory_bytes, most_pixels, longest_side = sys.argv[1], *map(int, sys.argv[2:])
    content = sys.stdin.buffer.read()
    bound(memory_bytes)
    out = sys.stdout.buffer
    try:
        decode(format, content, most_pixels=most_pixels, longest_side=longest_side, out=out)
    except Refused as refused:
        tell(out, refused=str(refused))
    except Exception as error:  # Pillow names no base for what it raises on bad bytes
        tell(out, refused="truncated" if "truncated" in str(error).lower() else "unreadable")


if __name__ == "__main__":
    main()
