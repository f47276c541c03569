"""Converts pixels of every mode and depth to eight bits of RGB or RGBA in sRGB, as browsers show them.

A colour profile counts by its curves and not by its name: whether it is sRGB is tested with a few hundred colours.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from itertools import product
from typing import cast

from PIL import Image, ImageChops, ImageCms

# The largest profiles in use, for printing, have 3 MB.
MAX_PROFILE_BYTES = 4_000_000
# The modes of pixels that a profile of each colour space describes.
SPACES = {"RGB": ("RGB", "RGBA", "L", "LA"), "GRAY": ("L", "LA"), "CMYK": ("CMYK",)}
# The gamma that browsers assume of a screen, and the difference from it that is ignored, as in libpng.
SCREEN, UNSEEN = 2.2, 0.05
# The error, of 255, that converting there and back costs.
SAME = 1

# The numbers of ITU-T H.273, by a PNG's code points (`cICP`) for primaries and curve. PQ and HLG are left out, because their
# light exceeds any screen's: such a picture is shown by its other colour facts, as by programs that do not know the codes.
#
# Red, green and blue in XYZ for a white of D65, adapted to D50 as ICC asks.
PRIMARIES = {
    1: ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
    9: ((0.67346, 0.27903, -0.00193), (0.16566, 0.67534, 0.02998), (0.12510, 0.04563, 0.79716)),
    12: ((0.51510, 0.24118, -0.00105), (0.29197, 0.69224, 0.04188), (0.15715, 0.06658, 0.78438)),
}
# ICC's parameters g, a, b, c, d: (a x + b) to the power of g from x = d on, c x below.
CAMERA = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
CURVES = {
    1: CAMERA,
    4: (2.2, 1.0, 0.0, 0.0, 0.0),
    5: (2.8, 1.0, 0.0, 0.0, 0.0),
    6: CAMERA,
    8: (1.0, 1.0, 0.0, 0.0, 0.0),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    14: CAMERA,
    15: CAMERA,
}
# No matrix, as a PNG requires, and the full range of values.
RGB_OF_FULL_RANGE = b"\0\1"
WHITE = (0.9642, 1.0, 0.8249)
HEADER_BYTES, ENTRY_BYTES = 128, 12


def plain(image: Image.Image, profiles: Iterable[bytes], gamma: float | None = None) -> Image.Image:
    """Returns the pixels in sRGB, by the first profile that can be used; if there is none, by a PNG's gamma."""
    pixels = _simple(image)
    for profile in profiles:
        if profile and len(profile) <= MAX_PROFILE_BYTES:
            try:
                return _converted(pixels, profile)
            except Exception:  # LittleCMS and Pillow name no base for what they raise on bad bytes
                continue
    return _rgb(pixels) if gamma is None else _raised(_rgb(pixels), 1 / (gamma * SCREEN))


def unpacked_profile(chunk: bytes) -> bytes:
    """Unpacks the profile in a PNG's chunk (name, zero, method, data); returns nothing if it is too large or broken."""
    _, _, packed = chunk.partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if unpacking.eof else b""


def profile_of_codes(codes: bytes) -> bytes:
    """Builds the profile for the four code points in a PNG's `cICP`; empty for codes that are not known."""
    if len(codes) != 4 or codes[0] not in PRIMARIES or codes[1] not in CURVES or codes[2:] != RGB_OF_FULL_RANGE:
        return b""
    tags = {b"wtpt": _xyz(WHITE)}
    curve = b"para" + bytes(4) + b"\0\3\0\0" + _numbers(CURVES[codes[1]])
    for name, place in zip((b"r", b"g", b"b"), PRIMARIES[codes[0]], strict=True):
        tags |= {name + b"XYZ": _xyz(place), name + b"TRC": curve}
    return _of_tags(tags)


def without(image: Image.Image, clear: tuple[int, ...], low: Image.Image | None, depth: int) -> Image.Image:
    """Makes one colour of grey or RGB pixels transparent. `low`: the lower bytes of a 16-bit picture; `image` has the upper."""
    same: Image.Image | None = None
    if depth < 8:
        clear = tuple(value * 255 // ((1 << depth) - 1) for value in clear)
    for half, shift in ((image, 8 if low else 0), (low, 0)):
        for band, value in zip(half.split() if half else (), clear, strict=False):
            hit = band.point([255 * (each == value >> shift & 255) for each in range(256)])
            same = hit if same is None else ImageChops.darker(same, hit)
    assert same is not None
    shown = image.convert("RGB")
    shown.putalpha(ImageChops.invert(same))
    return shown


def _simple(image: Image.Image) -> Image.Image:
    """Returns the pixels in L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey cuts everything above 255 to white.
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in {"L", "LA", "RGB", "RGBA", "CMYK"} and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _rgb(image: Image.Image) -> Image.Image:
    mode = "RGBA" if image.mode in {"LA", "RGBA"} else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _raised(pixels: Image.Image, power: float) -> Image.Image:
    if abs(power - 1) < UNSEEN:
        return pixels
    curve = [round(255 * (value / 255) ** power) for value in range(256)]
    same = list(range(256)) if pixels.mode == "RGBA" else []
    return pixels.point(curve * 3 + same)


def _converted(pixels: Image.Image, profile: bytes) -> Image.Image:
    meant = ImageCms.ImageCmsProfile(BytesIO(profile))
    space = meant.profile.xcolor_space.strip()
    if pixels.mode not in SPACES.get(space, ()):
        raise ValueError("The profile is for other pixels.")
    source = _rgb(pixels) if space == "RGB" else pixels
    if space == "RGB" and _is_srgb(meant):
        return source
    if source.mode == "LA":
        grey, alpha = source.split()
        shown = _through(meant, grey, "RGB")
        shown.putalpha(alpha)
        return shown
    return _through(meant, source, source.mode if space == "RGB" else "RGB")


def _through(meant: ImageCms.ImageCmsProfile, source: Image.Image, target: str) -> Image.Image:
    converted = ImageCms.profileToProfile(source, meant, _srgb(), outputMode=target)
    if converted is None:
        raise ValueError("The profile converts nothing.")
    return converted


def _is_srgb(meant: ImageCms.ImageCmsProfile) -> bool:
    """Returns whether a profile leaves a few hundred colours as they are. Most photographs say that they are in sRGB."""
    differences = ImageChops.difference(_through(meant, _tried(), "RGB"), _tried()).getextrema()
    # An RGB picture has one pair for each band.
    return all(most <= SAME for _, most in cast("tuple[tuple[int, int], ...]", differences))


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def _tried() -> Image.Image:
    greys = [value for value in range(256) for _ in range(3)]
    mixed = [value for colour in product(range(0, 256, 51), repeat=3) for value in colour]
    return Image.frombytes("RGB", (len(greys + mixed) // 3, 1), bytes(greys + mixed))


def _of_tags(tags: dict[bytes, bytes]) -> bytes:
    data, table = b"", struct.pack(">I", len(tags))
    start = HEADER_BYTES + len(table) + ENTRY_BYTES * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(data), len(tag))
        data += tag
    header = struct.pack(">I4sI12s12x4s28x", start + len(data), b"none", 0x04000000, b"mntrRGB XYZ ", b"acsp")
    return (header + _numbers(WHITE)).ljust(HEADER_BYTES, b"\0") + table + data


def _xyz(place: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _numbers(place)


def _numbers(numbers: tuple[float, ...]) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65_536) for number in numbers))
