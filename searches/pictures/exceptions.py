"""Defines the reasons for which a picture is refused, each with a sentence or two for the tenant."""

from __future__ import annotations

# JPEG encoders write no more pixels on one side. Pillow's time grows with the square of a row: 132 bytes of WebP took 4 s.
LONGEST_SIDE = 65_500
TAKEN = "Send a JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF."


class BadPicture(Exception):
    """The file is refused. `detail`: for the tenant, without any of the content; `field`: the request's field it is about."""

    field = "image"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class TooLarge(BadPicture):
    """The file has more bytes than any picture may have."""


def truncated() -> BadPicture:
    return BadPicture("truncated", "The picture is cut short. Send the whole file.")


def unreadable() -> BadPicture:
    return BadPicture("unreadable", "The picture is damaged and cannot be read. Save it anew and send that.")


def too_costly() -> BadPicture:
    return BadPicture("too_costly", "The picture takes too long to read. Save it anew and send that.")


def too_many_pixels(most: int) -> BadPicture:
    return BadPicture("too_many_pixels", f"The picture has more than {most // 1_000_000} megapixels. Send it smaller.")


def too_long() -> BadPicture:
    return BadPicture("too_many_pixels", f"A side has more than {LONGEST_SIDE} pixels. Send it smaller.")


def other_bmp() -> BadPicture:
    return BadPicture("format_not_taken", "This kind of BMP is not taken. Save the picture as a PNG and send that.")


def by_decoder(code: object, *, most_pixels: int) -> BadPicture:
    """Returns the reason whose code a decoder answered; `unreadable` for any code that it cannot mean."""
    if code == "too_many_pixels":
        return too_many_pixels(most_pixels)
    return {"truncated": truncated, "format_not_taken": other_bmp}.get(str(code), unreadable)()
