"""Judges a file by the skeleton of its format, before anything is decoded: its format, that it is whole, that it is no flood of
tiny pieces, and that it is no file of another kind as well.

Pillow alone takes a PNG without its end, reads a million empty chunks one by one in Python, and makes one pass over all
pixels for each scan of a JPEG, of which 20 MB can hold a million. Walking the skeleton costs a fraction of a millisecond.

Bytes behind the end of a picture are dropped: phones put films and second pictures there. A file that other programs take for an
archive, a document or a page is refused. A disguise that is a valid picture too (numbers in a GIF's header that read as
JavaScript) does no harm, since every picture is written anew, except a bare JPEG.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from math import inf

from searches.pictures.exceptions import (
    LONGEST_SIDE,
    TAKEN,
    BadPicture,
    too_long,
    too_many_pixels,
    truncated,
    unreadable,
)

JPEG_START = b"\xff\xd8\xff"
# A marker is neither an escaped 0xFF of the scan's data nor a restart within it, nor a filling 0xFF.
JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
JPEG_SCAN, JPEG_END = b"\xda", b"\xd9"
# The frame markers of all codings; the numbers between them mean tables.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# The segments that a decoder needs: tables, frame, restarts, scans. Encoders write 700 bytes of them before a scan; much more
# could hide something.
JPEG_NEEDED = {b"\xc0", b"\xc1", b"\xc2", b"\xc4", b"\xdb", b"\xdd", JPEG_SCAN}
JPEG_HEAD_BYTES = 1024
# Starts of archives, programs and pages that could hide among a scan's bytes. Chance brings such letters once in thousands of
# pictures, which then are written anew. Six patterns with one start each search 200 kB in 0.4 ms; as one they take 0.9.
HIDDEN = (
    *(re.compile(start) for start in (rb"PK[\x01-\x08][\x02-\x08]", rb"Rar!", rb"7z\xbc\xaf", rb"\x7fELF", rb"%PDF")),
    re.compile(rb"<(?:scr|htm|bod|img|ifr|svg|\?ph|\?xm|!do)", re.IGNORECASE),
)
# JFIF's label, at a length without a preview, and Adobe's segment on the colours.
JPEG_LABELS = (b"\xff\xe0\x00\x10JFIF\x00", b"\xff\xee\x00\x0eAdobe")
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
GIF_STARTS = (b"GIF87a", b"GIF89a")
GIF_EXTENSION, GIF_IMAGE, GIF_END = 0x21, 0x2C, 0x3B
# The known sizes of a header. Compression 0, 3 and 6 mean that the rows are not packed.
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
BMP_UNPACKED = (0, 3, 6)
# Pillow reads packed ones pixel by pixel in Python, 3 million a second, and a few bytes can pack them all.
MAX_PACKED_PIXELS = 4_000_000
# The brands that name a file's codec; `mif1` and `msf1` alone name none.
AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}

# Each scan of a JPEG is a pass over all pixels: twelve of 50 megapixels, where encoders write ten.
MAX_SCANNED_PIXELS = 600_000_000
# A box with a size (length 20, no flags). A picture that is made of tiles has one for each kind of tile, and one for the whole.
SIZE_BOX = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(.{4})(.{4})", re.DOTALL)
MAX_SIZE_BOXES = 1000

# Files of 20 MB from real encoders have a few thousand pieces and a dozen scans.
MAX_PIECES = 20_000
MAX_SCANS = 100
MAX_JUNK = 65_536
# Encoders fill a GIF's pieces, of at most 255 bytes; shorter ones on average are a flood.
GIF_PIECE_BYTES = 64

# The starts of pictures that people send, of formats that are not taken.
OTHER_PICTURES = {
    "TIFF": re.compile(rb"II\*\x00|MM\x00\*"),
    "JPEG 2000": re.compile(rb"\x00\x00\x00\x0cjP  "),
    "JPEG XL": re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL "),
    "SVG": re.compile(rb"\s*(<\?xml[^>]*>\s*)?<svg", re.IGNORECASE),
}

# The places where readers of other formats look for them: PDF at the start, ZIP at the end, HTML and PHP behind the picture.
PDF_START, PDF_WITHIN = b"%PDF-", 1024
ZIP_END, ZIP_FILE, ZIP_WITHIN = b"PK\x05\x06", b"PK\x01\x02", 65_557
PAGE = re.compile(rb"<(\?php|script|html|!doctype html|svg|iframe)[\s>]", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Holds the facts in the skeleton of a file. `pixels` is infinite if the file does not plainly say how many it has."""

    format: str
    pixels: float


def judge(content: bytes, *, most_pixels: int) -> Judged:
    """Returns the format and the size of a file, by its bytes alone.

    Raises `BadPicture` unless the file is whole, as far as its skeleton says, and within the bounds.
    """
    format = _format(content)
    if format in {"HEIC", "AVIF"}:
        # The file may have several sizes, and only the decoder knows which one counts.
        pixels, end = _pixels_of_boxes(content), _walk_boxes(content)
    else:
        size, walk = SKELETONS[format]
        pixels, end = bounded(*size(content), most_pixels), walk(content)
    _refuse_disguise(content, end)
    return Judged(format=format, pixels=pixels)


def _format(content: bytes) -> str:
    if content.startswith(JPEG_START):
        return "JPEG"
    if content.startswith(PNG_START):
        return "PNG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    if content.startswith(GIF_STARTS):
        return "GIF"
    if content[4:8] == b"ftyp":
        return _codec(content)
    if content.startswith(b"BM") and int.from_bytes(content[14:18], "little") in BMP_HEADERS:
        return "BMP"
    raise _foreign(content)


def bounded(width: int, height: int, most_pixels: int) -> int:
    """Returns how many pixels there are. Raises `BadPicture` for too many of them, or for a side that is too long."""
    if width * height > most_pixels:
        raise too_many_pixels(most_pixels)
    if max(width, height) > LONGEST_SIDE:
        raise too_long()
    return width * height


def _size_of_jpeg(content: bytes) -> tuple[int, int]:
    """Returns the size in the frame, which is searched as decoders do; 0 × 0 where the walk will say what is wrong."""
    at = 2
    for _ in range(MAX_PIECES):
        marker = JPEG_MARKER.search(content, at)
        if marker is None or marker[1] in {JPEG_SCAN, JPEG_END}:
            break
        if marker[1][0] in JPEG_FRAMES:
            sides = content[marker.end() + 3 : marker.end() + 7].ljust(4, b"\0")
            return int.from_bytes(sides[2:]), int.from_bytes(sides[:2])
        at = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
    return 0, 0


def _walk_jpeg(content: bytes) -> int:
    """Returns where the picture ends.

    Without an end marker the last scan may still be whole, which `scans` finds out. The scan's bytes then count as behind the
    picture, so that no page hides there.
    """
    width, height = _size_of_jpeg(content)
    at, scans = 2, 0
    for _ in range(MAX_PIECES):
        marker = JPEG_MARKER.search(content, at)
        if marker is None:
            if scans == 0 or at > len(content):
                raise truncated()
            return at
        if scans == 0 and marker.start() - at > MAX_JUNK:
            raise unreadable()
        if marker[1] == JPEG_END:
            return marker.end()
        scans += marker[1] == JPEG_SCAN
        if scans > MAX_SCANS:
            break
        if scans * width * height > MAX_SCANNED_PIXELS:
            raise BadPicture("too_costly", "The picture has too many scans for its size. Save it anew and send that.")
        at = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
    raise _too_many_pieces()


def is_bare_jpeg(content: bytes) -> bool:
    """Returns whether a JPEG has room only for its picture. Writing it anew would then strip no metadata, and lose a little."""
    if any(hidden.search(content) for hidden in HIDDEN):
        return False
    at, head, scanning = 2, 0, False
    while marker := JPEG_MARKER.search(content, at):
        start = marker.start()
        if start != at and not scanning:
            return False
        if marker[1] == JPEG_END:
            # Decoders skip bytes behind the last pixel of a scan, which differ from the picture only if it is decoded.
            return marker.end() == len(content)
        at = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
        head = at - start + (0 if scanning else head)
        needed = marker[1] in JPEG_NEEDED or content.startswith(JPEG_LABELS, start)
        if not needed or head > JPEG_HEAD_BYTES:
            return False
        scanning = marker[1] == JPEG_SCAN
    return False


def _size_of_png(content: bytes) -> tuple[int, int]:
    if len(content) < 33:
        raise truncated()
    if content[12:16] != b"IHDR":
        raise unreadable()
    return struct.unpack_from(">II", content, 16)


def _walk_png(content: bytes) -> int:
    view = memoryview(content)
    at = len(PNG_START)
    for _ in range(MAX_PIECES):
        # length (4 bytes) · type (4) · data · checksum of type and data (4)
        end = at + 12 + int.from_bytes(view[at : at + 4])
        if end > len(content):
            raise truncated()
        kind = bytes(view[at + 4 : at + 8])
        # Chunks named in small letters are optional, and their damage is no reason to refuse the pixels.
        if kind in PNG_NEEDED and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise unreadable()
        if kind == b"IEND":
            return end
        at = end
    raise _too_many_pieces()


def _size_of_webp(content: bytes) -> tuple[int, int]:
    """Returns the size of the canvas; 0 × 0 where the decoder will say what is wrong."""
    kind, data = content[12:16], content[20:30]
    if len(data) == 10 and kind == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if len(data) == 10 and kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 6)
        return width & 0x3FFF, height & 0x3FFF
    if len(data) >= 5 and kind == b"VP8L":
        sides = int.from_bytes(data[1:5], "little")
        return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    return 0, 0


def _measure_webp(content: bytes) -> int:
    end = 8 + int.from_bytes(content[4:8], "little")
    if len(content) < end:
        raise truncated()
    return end


def _size_of_gif(content: bytes) -> tuple[int, int]:
    """Returns the size of the screen. The decoder checks a first frame that is larger."""
    if len(content) < 13:
        raise truncated()
    return struct.unpack_from("<HH", content, 6)


def _walk_gif(content: bytes) -> int:
    """Returns where the last frame ends. Only the first is used, but a file that is cut in a later one was not sent whole."""
    allowed = MAX_PIECES + len(content) // GIF_PIECE_BYTES
    at = 13 + gif_palette_bytes(content[10])
    try:
        while content[at] != GIF_END:
            if content[at] == GIF_EXTENSION:
                at += 2
            elif content[at] == GIF_IMAGE:
                # place and size (8 bytes) · flags · palette · size of a code
                at += 11 + gif_palette_bytes(content[at + 9])
            else:
                raise unreadable()
            allowed -= 1
            while (size := content[at]) and allowed > 0:
                at += 1 + size
                allowed -= 1
            if allowed <= 0:
                raise _too_many_pieces()
            at += 1
    except IndexError:
        raise truncated() from None
    return at + 1


def gif_palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _size_of_bmp(content: bytes) -> tuple[int, int]:
    if len(content) < 54:
        raise truncated()
    width, height = struct.unpack_from("<HH" if content[14] == 12 else "<ii", content, 18)
    if width <= 0 or height == 0:
        raise unreadable()
    return width, abs(height)


def _measure_bmp(content: bytes) -> int:
    """Returns where the rows end, by the header. Only the decoder knows where packed rows end."""
    width, height = _size_of_bmp(content)
    (start,) = struct.unpack_from("<I", content, 10)
    depth, packing = (
        (struct.unpack_from("<H", content, 24)[0], 0) if content[14] == 12 else struct.unpack_from("<HI", content, 28)
    )
    if packing not in BMP_UNPACKED:
        if width * height > MAX_PACKED_PIXELS:
            megapixels = f"{MAX_PACKED_PIXELS // 1_000_000} megapixels"
            detail = f"A packed BMP has at most {megapixels}. Save the picture as a PNG and send that."
            raise BadPicture("too_many_pixels", detail)
        return len(content)
    end: int = start + (width * depth + 31) // 32 * 4 * height
    if len(content) < end:
        raise truncated()
    return end


def _codec(content: bytes) -> str:
    brands = content[8 : min(int.from_bytes(content[:4]), 1024)]
    named = {brands[at : at + 4] for at in range(0, len(brands), 4)}
    if named & AVIF_BRANDS:
        return "AVIF"
    if named & HEIC_BRANDS:
        return "HEIC"
    raise _foreign(content)


def _pixels_of_boxes(content: bytes) -> float:
    sizes = [match.groups() for match in islice(SIZE_BOX.finditer(content), MAX_SIZE_BOXES + 1)]
    if not sizes or len(sizes) > MAX_SIZE_BOXES:
        return inf
    return max(int.from_bytes(width) * int.from_bytes(height) for width, height in sizes)


def _walk_boxes(content: bytes) -> int:
    """Returns where the last box ends. Cameras put notes behind it that are no boxes."""
    at = 0
    seen: set[bytes] = set()
    for _ in range(MAX_PIECES):
        size, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(content[at + 8 : at + 16])
        elif size == 0:
            size = len(content) - at
        if at == len(content) and seen:
            return at
        if size < 8 or at + size > len(content):
            if {b"meta", b"moov"} & seen and b"mdat" in seen and kind != b"mdat":
                return at
            raise truncated()
        seen.add(kind)
        at += size
    raise _too_many_pieces()


def _refuse_disguise(content: bytes, end: int) -> None:
    if content.find(PDF_START, 0, PDF_WITHIN) >= 0:
        raise _disguised("PDF document")
    if _is_zip(content):
        raise _disguised("ZIP archive")
    if end < len(content) and PAGE.search(content, end):
        raise _disguised("web page")


def _is_zip(content: bytes) -> bool:
    """Returns whether an archive's directory is where an end record says; the record's four bytes alone may be chance."""
    at = content.rfind(ZIP_END, max(0, len(content) - ZIP_WITHIN))
    if at < 0:
        return False
    size = int.from_bytes(content[at + 12 : at + 16], "little")
    return size <= at and content.startswith(ZIP_FILE, at - size)


def _disguised(other: str) -> BadPicture:
    return BadPicture("polyglot", f"The file is a picture and a {other} in one. Save the picture anew and send that.")


def _too_many_pieces() -> BadPicture:
    return BadPicture("unreadable", "The picture is made of too many pieces. Save it anew and send that.")


def _foreign(content: bytes) -> BadPicture:
    for name, start in OTHER_PICTURES.items():
        if start.match(content[:1024]):
            return BadPicture("format_not_taken", f"{name} pictures are not taken. {TAKEN}")
    return BadPicture("not_a_picture", f"The file is no picture. {TAKEN}")


# How each format's size is read, and how the end of its picture is found.
SKELETONS: Mapping[str, tuple[Callable[[bytes], tuple[int, int]], Callable[[bytes], int]]] = {
    "JPEG": (_size_of_jpeg, _walk_jpeg),
    "PNG": (_size_of_png, _walk_png),
    "WEBP": (_size_of_webp, _measure_webp),
    "GIF": (_size_of_gif, _walk_gif),
    "BMP": (_size_of_bmp, _measure_bmp),
}
