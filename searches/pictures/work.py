"""Carries out what is ordered of one picture, in a decoder. `exchange` says how its answer is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from searches.pictures import fitting, reading, strips
from searches.pictures.cropping import BadCrop, Crop
from searches.pictures.exceptions import BadPicture


@dataclass(frozen=True, kw_only=True)
class OrderedLimits:
    formats: tuple[str, ...]
    max_bytes: int


def done(order: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Carries an order out, in a decoder. A picture that is refused is an answer too."""
    try:
        return KINDS[order["kind"]](order, content)
    except BadPicture as refused:
        return {"refused": refused.code}, []


def _read(order: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Reads a picture as it was sent: its facts, the file that is kept, and the renderings of what is cut out."""
    picture = reading.decoded(order["format"], content, most_pixels=order["most_pixels"])
    try:
        crop = Crop.parse(order["crop"]).in_pixels(picture.pixels.size)
    except BadCrop:
        return {"size": picture.pixels.size, "bad_crop": True}, []
    original = picture.rewritten()
    found = fitting.fitted(picture.pixels, picture.kept_as, original, _limits(order), crop)
    said = {
        "kept_as": picture.kept_as,
        "size": picture.pixels.size,
        "pixels_sha256": strips.pixels_sha256(picture.pixels),
    }
    return _packed(said, content, original, found)


def _fit(order: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Makes renderings of a picture that is kept."""
    pixels = reading.kept(order["format"], content)
    found = fitting.fitted(pixels, order["format"], content, _limits(order), Crop.parse(order["crop"]))
    return _packed({}, content, content, found)


def _thumbnail(order: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    width, height = order["size"]
    return {}, [reading.thumbnail(order["format"], content, (width, height))]


KINDS = {"read": _read, "fit": _fit, "thumbnail": _thumbnail}


def _limits(order: Mapping[str, Any]) -> dict[str, OrderedLimits]:
    return {
        provider: OrderedLimits(formats=tuple(formats), max_bytes=max_bytes)
        for provider, (formats, max_bytes) in order["limits"].items()
    }


def _packed(
    said: dict[str, Any], sent: bytes, original: bytes, found: Mapping[str, tuple[str, bytes]]
) -> tuple[dict[str, Any], list[bytes]]:
    """Lists the files that are new, each once, and says by number where they belong: 0 is what was sent."""
    files: list[bytes] = [sent]
    numbers = {id(sent): 0}

    def number(content: bytes) -> int:
        if id(content) not in numbers:
            numbers[id(content)] = len(files)
            files.append(content)
        return numbers[id(content)]

    said["original"] = number(original)
    said["renderings"] = {provider: [format, number(content)] for provider, (format, content) in found.items()}
    return said, files[1:]
