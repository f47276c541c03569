"""Defines what passes between a web server and its decoders: an order is JSON and a file, an answer is JSON and files.

No more of an answer is believed than can be checked: whoever took over a decoder can spoil its own picture alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from searches.pictures.cropping import Crop
from searches.pictures.exceptions import LONGEST_SIDE

MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
# How each file begins that is written here.
STARTS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "WEBP": b"RIFF"}
SHA256 = re.compile(r"[0-9a-f]{64}")


class Limits(Protocol):
    """Names the parts of the adapters' `PictureLimits`, which is not imported: a decoder knows no providers."""

    @property
    def formats(self) -> Sequence[str]: ...
    @property
    def max_bytes(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Made:
    """Holds a picture that was read. `renderings`: format and content by provider; one that is `original` is that very object."""

    kept_as: str
    width: int
    height: int
    pixels_sha256: str
    crop: str
    original: bytes = field(repr=False)
    renderings: Mapping[str, tuple[str, bytes]] = field(repr=False)


def fits(format: str, content: bytes, limits: Limits) -> bool:
    return format in limits.formats and len(content) <= limits.max_bytes


def made(said: Mapping[str, Any], files: list[bytes], sent: bytes, limits: Mapping[str, Limits], crop: Crop) -> Made:
    """Returns the picture that an answer to `read` tells. Raises `BadCrop`, or `ValueError` as `renderings`."""
    width, height = said["size"]
    _check(all(type(side) is int and 0 < side <= LONGEST_SIDE for side in (width, height)))
    in_pixels = crop.in_pixels((width, height))
    kept_as = said["kept_as"]
    contents = [sent, *files]
    original = contents[said["original"]]
    _check(SHA256.fullmatch(said["pixels_sha256"]) is not None)
    _check(original.startswith(STARTS[kept_as]))
    return Made(
        kept_as=kept_as,
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
    """Returns format and content by provider. Raises `ValueError` where no decoder of ours would say it."""
    contents = [sent, *files]
    _check(set(said["renderings"]) == set(limits))
    found = {provider: (format, contents[number]) for provider, (format, number) in said["renderings"].items()}
    for provider, (format, content) in found.items():
        _check(fits(format, content, limits[provider]) and content.startswith(STARTS[format]))
    return found


def _check(right: bool) -> None:
    if not right:
        raise ValueError("A decoder's answer is none that it can give.")
