"""Defines what a web server and its decoders exchange: an order is JSON and a file, an answer is JSON and files.

Every part of an answer is checked, because a hostile picture may have taken its decoder over. It can then spoil only itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from searches.pictures.cropping import Crop
from searches.pictures.exceptions import LONGEST_SIDE

MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
# The first bytes of each format that is stored.
STARTS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "WEBP": b"RIFF"}
SHA256 = re.compile(r"[0-9a-f]{64}")


class Limits(NamedTuple):
    """Holds what a provider takes, as the adapters' `PictureLimits`, which a decoder does not know. In JSON it is a list."""

    formats: Sequence[str]
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class Made:
    """Holds a picture that was read. `renderings`: format and content by provider; one equal to `original` is that object."""

    stored_as: str
    width: int
    height: int
    pixels_sha256: str
    crop: str
    original: bytes = field(repr=False)
    renderings: Mapping[str, tuple[str, bytes]] = field(repr=False)


def fits(format: str, content: bytes, limits: Limits) -> bool:
    return format in limits.formats and len(content) <= limits.max_bytes


def made(said: Mapping[str, Any], files: list[bytes], sent: bytes, limits: Mapping[str, Limits], crop: Crop) -> Made:
    """Returns the picture that an answer to `read` describes. Raises `BadCrop`, or `ValueError` for an impossible answer."""
    width, height = said["size"]
    _check(all(type(side) is int and 0 < side <= LONGEST_SIDE for side in (width, height)))
    in_pixels = crop.in_pixels((width, height))
    original = [sent, *files][said["original"]]
    _check(SHA256.fullmatch(said["pixels_sha256"]) is not None)
    _check(original.startswith(STARTS[said["stored_as"]]))
    return Made(
        stored_as=said["stored_as"],
        width=width,
        height=height,
        pixels_sha256=said["pixels_sha256"],
        crop=str(in_pixels),
        original=original,
        renderings=renderings(said, files, sent, limits),
    )


def renderings(
    said: Mapping[str, Any], files: list[bytes], sent: bytes, limits: Mapping[str, Limits]
) -> dict[str, tuple[str, bytes]]:
    """Returns format and content by provider. Raises `ValueError` for an impossible answer."""
    contents = [sent, *files]
    _check(set(said["renderings"]) == set(limits))
    found = {provider: (format, contents[number]) for provider, (format, number) in said["renderings"].items()}
    for provider, (format, content) in found.items():
        _check(fits(format, content, limits[provider]) and content.startswith(STARTS[format]))
    return found


def _check(right: bool) -> None:
    if not right:
        raise ValueError("A decoder's answer is none that it can give.")
