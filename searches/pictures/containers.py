"""Judges a file by the skeleton of its format, before anything is decoded: what it is, that it is whole, and that it is
no flood of tiny pieces.

Pillow alone takes a PNG without its end, reads a million empty chunks one by one in Python, and makes one pass over all
pixels for each of a JPEG's scans, of which 20 MB can hold a million. Walking the skeleton costs a fraction of a millisecond.
"""

from __future__ import annotations

import re
import zlib

JPEG_START = b"\xff\xd8\xff"
# A marker is neither an escaped 0xFF of the scan's data nor a restart within it, nor a filling 0xFF.
JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
JPEG_SCAN, JPEG_END = b"\xda", b"\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"

# Files of 20 MB from real encoders have a few thousand pieces and a dozen scans.
MAX_PIECES = 20_000
MAX_SCANS = 100
MAX_JUNK = 65_536

# How files begin that people send and that are pictures, but not of a kind that is taken.
OTHER_PICTURES = {
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{8}", re.DOTALL),
    "AVIF": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
    "HEIC": re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL),
    "TIFF": re.compile(rb"II\*\x00|MM\x00\*"),
    "JPEG 2000": re.compile(rb"\x00\x00\x00\x0cjP  "),
    "JPEG XL": re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL "),
    "SVG": re.compile(rb"\s*(<\?xml[^>]*>\s*)?<svg", re.IGNORECASE),
}
TAKEN = "Send a JPEG, PNG or WebP."


class BadPicture(Exception):
    """A file that is not searched with. `detail` is one sentence or two for the tenant, without any of the content."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class TooLarge(BadPicture):
    """More bytes than any picture may have."""


def judge(content: bytes) -> None:
    """Raises `BadPicture` unless it is a whole JPEG, PNG or WebP, as far as its skeleton tells."""
    if content.startswith(JPEG_START):
        _walk_jpeg(content)
    elif content.startswith(PNG_START):
        _walk_png(content)
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        _measure_webp(content)
    else:
        raise _foreign(content)


def truncated() -> BadPicture:
    return BadPicture("truncated", "The picture is cut short. Send the whole file.")


def unreadable() -> BadPicture:
    return BadPicture("unreadable", "The picture is damaged and cannot be read. Save it anew and send that.")


def _walk_jpeg(content: bytes) -> None:
    at, scans = 2, 0
    for _ in range(MAX_PIECES):
        marker = JPEG_MARKER.search(content, at)
        if marker is None:
            raise truncated()
        if scans == 0 and marker.start() - at > MAX_JUNK:
            raise unreadable()
        if marker[1] == JPEG_END:
            return
        scans += marker[1] == JPEG_SCAN
        if scans > MAX_SCANS:
            break
        at = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
    raise _too_many_pieces()


def _walk_png(content: bytes) -> None:
    view = memoryview(content)
    at = len(PNG_START)
    for _ in range(MAX_PIECES):
        # length (4 bytes) · type (4) · data · checksum of type and data (4)
        end = at + 12 + int.from_bytes(view[at : at + 4])
        if end > len(content):
            raise truncated()
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise unreadable()
        if bytes(view[at + 4 : at + 8]) == b"IEND":
            return
        at = end
    raise _too_many_pieces()


def _measure_webp(content: bytes) -> None:
    if len(content) < 8 + int.from_bytes(content[4:8], "little"):
        raise truncated()


def _too_many_pieces() -> BadPicture:
    return BadPicture("unreadable", "The picture is made of too many pieces. Save it anew and send that.")


def _foreign(content: bytes) -> BadPicture:
    for name, start in OTHER_PICTURES.items():
        if start.match(content[:1024]):
            return BadPicture("format_not_taken", f"{name} pictures are not taken. {TAKEN}")
    return BadPicture("not_a_picture", f"The file is no picture. {TAKEN}")
