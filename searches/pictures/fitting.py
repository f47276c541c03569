"""Fits a picture to what a provider takes: the largest rendering within its limits.

Quality goes first, size second: providers compare what a picture shows, which survives a little compression better than
a loss of detail. The size is found by aiming, since a file's bytes nearly follow its pixels: one or two tries where
halving an interval takes six.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from math import sqrt
from typing import Any

from PIL import Image

from searches.pictures.cropping import Crop
from searches.pictures.exchange import Limits, fits

# Pillow's options for a format: the best first, and the least that a picture is written with.
QUALITIES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "JPEG": ({"quality": 92}, {"quality": 82}),
    "PNG": ({"compress_level": 6},),
    "WEBP": ({"quality": 90, "method": 2}, {"quality": 80, "method": 2}),
}
# What encoders write at most on one side; PNG's own limit is beyond anything that is a picture.
LONGEST_SIDE = {"JPEG": 65_500, "PNG": 65_500, "WEBP": 16_383}
# Aims a little below the limit; a try that fills this much of it is the largest for all purposes.
AIM = 0.96
ENOUGH = 0.8
TRIES = 8


def fitted(
    pixels: Image.Image, kept_as: str, original: bytes, limits: Mapping[str, Limits], crop: Crop
) -> dict[str, tuple[str, bytes]]:
    """Format and content by provider: the original itself where that will do."""
    left, top, right, bottom = crop.box(pixels.size)
    part = pixels if (right - left, bottom - top) == pixels.size else pixels.crop((left, top, right, bottom))
    share = part.width * part.height / (pixels.width * pixels.height)
    lossless_bytes = int(len(original) * share) if is_lossless(original) else None
    found: dict[str, tuple[str, bytes]] = {}
    made: dict[Plan, tuple[str, bytes]] = {}
    for provider, most in limits.items():
        if part is pixels and fits(kept_as, original, most):
            found[provider] = kept_as, original
            continue
        wanted = plan(most, lossless_bytes=lossless_bytes)
        if wanted not in made:
            made[wanted] = fit(part, wanted)
        found[provider] = made[wanted]
    return found


def is_lossless(content: bytes) -> bool:
    """Of a file as it is kept."""
    return content.startswith(b"\x89PNG") or content[12:16] == b"VP8L"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to try, and within how many bytes. Providers with equal plans get one rendering."""

    lossless: bool
    format: str
    max_bytes: int


def plan(limits: Limits, *, lossless_bytes: int | None = None) -> Plan:
    """`lossless_bytes`: of pixels that no compression has touched yet, about what they take without any; they stay so
    where the limits allow it.
    """
    lossless = lossless_bytes is not None and lossless_bytes <= limits.max_bytes and "PNG" in limits.formats
    return Plan(lossless=lossless, format=limits.formats[0], max_bytes=limits.max_bytes)


def fit(pixels: Image.Image, plan: Plan) -> tuple[str, bytes]:
    """The format and the bytes of a rendering within the limits."""
    if plan.lossless:
        content = write(pixels, format="PNG", compress_level=1)
        if len(content) <= plan.max_bytes:
            return "PNG", content
    format = plan.format
    source = _opaque(pixels) if format == "JPEG" else pixels
    source = _scaled(source, min(1, LONGEST_SIDE[format] / max(source.size)))
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
    """With the fast one of the filters that look at every pixel: it takes a third of Lanczos' time."""
    if scale == 1:
        return pixels
    shape = max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale))
    return pixels.resize(shape, Image.Resampling.HAMMING)


def _opaque(pixels: Image.Image) -> Image.Image:
    """On white: JPEG has no transparency, and what lies under it is often black."""
    if pixels.mode != "RGBA":
        return pixels
    white = Image.new("RGB", pixels.size, "white")
    white.paste(pixels, mask=pixels)
    return white
