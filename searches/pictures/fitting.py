"""Makes the largest rendering of a picture within a provider's limits.

Quality is reduced first and size second: providers compare what a picture shows, which survives a little compression better than
a loss of detail. The size is estimated from the bytes of the last try, because a file's bytes are nearly proportional to its
pixels: one or two tries, where halving an interval takes six.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from math import sqrt
from typing import Any

from PIL import Image

from searches.pictures.cropping import Crop
from searches.pictures.exceptions import LONGEST_SIDE
from searches.pictures.exchange import Limits, fits

# Pillow's options for each format, from the best quality to the lowest that is written.
QUALITIES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "JPEG": ({"quality": 92}, {"quality": 82}),
    "PNG": ({"compress_level": 6},),
    "WEBP": ({"quality": 90, "method": 2}, {"quality": 80, "method": 2}),
}
# The most pixels that encoders write on one side. PNG's own limit is far higher, so JPEG's is used.
LONGEST_SIDES = {"JPEG": LONGEST_SIDE, "PNG": LONGEST_SIDE, "WEBP": 16_383}
# The part of the limit that a try aims for, and the part of it that is good enough to stop.
AIM = 0.96
ENOUGH = 0.8
TRIES = 8


def fitted(
    pixels: Image.Image, stored_as: str, original: bytes, limits: Mapping[str, Limits], crop: Crop
) -> dict[str, tuple[str, bytes]]:
    """Returns format and content by provider: the original itself where it is within the limits."""
    left, top, right, bottom = crop.box(pixels.size)
    part = pixels if (right - left, bottom - top) == pixels.size else pixels.crop((left, top, right, bottom))
    share = part.width * part.height / (pixels.width * pixels.height)
    lossless_bytes = int(len(original) * share) if is_lossless(original) else None
    found: dict[str, tuple[str, bytes]] = {}
    made: dict[Plan, tuple[str, bytes]] = {}
    for provider, most in limits.items():
        wanted = plan(most, lossless_bytes=lossless_bytes)
        if part is pixels and fits(stored_as, original, most):
            found[provider] = stored_as, original
        else:
            found[provider] = made[wanted] = made.get(wanted) or fit(part, wanted)
    return found


def is_lossless(content: bytes) -> bool:
    """Returns whether a stored file is lossless: a PNG or a lossless WebP."""
    return content.startswith(b"\x89PNG") or content[12:16] == b"VP8L"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Says what to try, and within how many bytes. Providers with equal plans get the same rendering."""

    lossless: bool
    format: str
    max_bytes: int


def plan(limits: Limits, *, lossless_bytes: int | None = None) -> Plan:
    """Returns the plan for these limits. `lossless_bytes`: about those of a lossless rendering; None for lossy pixels."""
    lossless = lossless_bytes is not None and lossless_bytes <= limits.max_bytes and "PNG" in limits.formats
    return Plan(lossless=lossless, format=limits.formats[0], max_bytes=limits.max_bytes)


def fit(pixels: Image.Image, plan: Plan) -> tuple[str, bytes]:
    """Returns the format and the content of a rendering within the plan."""
    if plan.lossless:
        content = write(pixels, format="PNG", compress_level=1)
        if len(content) <= plan.max_bytes:
            return "PNG", content
    format = plan.format
    source = _opaque(pixels) if format == "JPEG" else pixels
    source = _scaled(source, min(1, LONGEST_SIDES[format] / max(source.size)))
    for options in QUALITIES[format]:
        content = write(source, format=format, **options)
        if len(content) <= plan.max_bytes:
            return format, content
    return format, _smaller(source, plan.max_bytes, {"format": format, **options}, len(content))


def write(pixels: Image.Image, **options: Any) -> bytes:
    file = BytesIO()
    pixels.save(file, **options)
    return file.getvalue()


def _smaller(pixels: Image.Image, max_bytes: int, options: Mapping[str, Any], size: int) -> bytes:
    best, scale, fitting, too_large = b"", 1.0, 0.0, 1.0
    for _ in range(TRIES):
        aim = scale * sqrt(max_bytes / size) * AIM
        scale = aim if fitting < aim < too_large else (fitting + too_large) / 2
        content = write(_scaled(pixels, scale), **options)
        size = len(content)
        if size > max_bytes:
            too_large = scale
            continue
        best, fitting = content, scale
        if size > max_bytes * ENOUGH:
            break
    if not best:
        raise ValueError(f"No picture fits {max_bytes} bytes.")
    return best


def _scaled(pixels: Image.Image, scale: float) -> Image.Image:
    """Resizes with the fastest filter that uses every pixel: it takes a third of the time of Lanczos."""
    if scale == 1:
        return pixels
    shape = max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale))
    return pixels.resize(shape, Image.Resampling.HAMMING)


def _opaque(pixels: Image.Image) -> Image.Image:
    """Puts transparent pixels on white: JPEG has no transparency, and the colour under it is often black."""
    if pixels.mode != "RGBA":
        return pixels
    white = Image.new("RGB", pixels.size, "white")
    white.paste(pixels, mask=pixels)
    return white
