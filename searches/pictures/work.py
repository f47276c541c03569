"""Executes an order for one picture, in a decoder's process. `exchange` checks the answer, in the web server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from searches.pictures import fitting, reading, strips
from searches.pictures.cropping import BadCrop, Crop
from searches.pictures.exceptions import BadPicture
from searches.pictures.exchange import Limits


def done(order: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Executes an order. Returns the answer and its files; a refusal is an answer too."""
    try:
        return KINDS[order["kind"]](order, content)
    except BadPicture as refused:
        return {"refused": refused.code}, []


def _read(order: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Reads a picture as it was sent: its facts, the file to be stored, and the renderings of its crop."""
    picture = reading.decoded(order["format"], content, most_pixels=order["most_pixels"])
    try:
        crop = Crop.parse(order["crop"]).in_pixels(picture.pixels.size)
    except BadCrop:
        return {"size": picture.pixels.size, "bad_crop": True}, []
    original, digest = picture.rewritten(), strips.pixels_sha256(picture.pixels)
    found = fitting.fitted(picture.pixels, picture.stored_as, original, _limits(order), crop)
    said = {"stored_as": picture.stored_as, "size": picture.pixels.size, "pixels_sha256": digest}
    return _packed(said, content, original, found)


def _fit(order: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Makes renderings of a stored picture."""
    pixels = reading.stored(order["format"], content)
    found = fitting.fitted(pixels, order["format"], content, _limits(order), Crop.parse(order["crop"]))
    return _packed({}, content, content, found)


def _thumbnail(order: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    width, height = order["size"]
    return {}, [reading.thumbnail(order["format"], content, (width, height))]


KINDS = {"read": _read, "fit": _fit, "thumbnail": _thumbnail}


def _limits(order: Mapping[str, Any]) -> dict[str, Limits]:
    return {provider: Limits(*each) for provider, each in order["limits"].items()}


def _packed(
    said: dict[str, Any], sent: bytes, original: bytes, found: Mapping[str, tuple[str, bytes]]
) -> tuple[dict[str, Any], list[bytes]]:
    """Lists the new files, each once. The answer refers to them by number; 0 is the file that was sent."""
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
