"""Strips a file of everything but its picture and the few facts that say how it is shown, before it is decoded.

Texts, previews and notes of cameras and editors are dropped by their place in the skeleton, without being unpacked or
interpreted, so that they can neither make a picture fail nor alter it. Of an animation only the first frame is kept, with its
place on the canvas, as browsers show it. `containers` has judged the file, so its pieces are within it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from searches.pictures.containers import JPEG_END, JPEG_MARKER, JPEG_SCAN, PNG_START, gif_palette_bytes
from searches.pictures.exceptions import unreadable

# A label of JFIF, without the preview that may follow it.
JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
# The length of Adobe's segment on the colours; longer ones are cut.
ADOBE_BYTES = 12
# The markers of applications' segments and of comments.
JPEG_NOTES = frozenset((*range(0xE0, 0xF0), 0xFE))
JPEG_PROFILE = b"ICC_PROFILE\x00"
PNG_FACTS = (b"tRNS", b"eXIf", b"iCCP", b"gAMA", b"sRGB", b"cICP")
# The valid contents of an sRGB chunk; a chunk with any other is ignored.
SRGB_INTENTS = (b"\0", b"\1", b"\2", b"\3")
WEBP_ALPHA = 0x10
# The start of a frame's control chunk: number, width, height, x, y.
PNG_FRAME = struct.Struct(">IIIII")
# The only tag of EXIF that is read, and its type, a 16-bit number.
ORIENTATION, SHORT = 0x0112, 3
# The types of a HEIC's or AVIF's items that are no picture, and a type that decoders ignore.
NOTES = (b"Exif", b"mime", b"uri ")
NO_ITEM = b"skip"


@dataclass(frozen=True, kw_only=True)
class Stripped:
    """Holds a file with nothing in it but its picture, and the facts that say how it is shown.

    `orientation`: EXIF's. `profile`: the colour profile, packed if the format packs it; empty if there is none. `codes`: code
    points for the colours, better than the profile. `clear`: the one transparent colour, in the file's own depth. `canvas`: the
    size of the canvas, if the picture is a part of it, at `place`.
    """

    content: bytes
    orientation: int = 1
    profile: bytes = b""
    codes: bytes = b""
    gamma: float | None = None
    clear: tuple[int, ...] = ()
    depth: int = 8
    canvas: tuple[int, int] | None = None
    place: tuple[int, int] = (0, 0)


def stripped(format: str, content: bytes) -> Stripped:
    """Strips a file of this format. Raises `BadPicture` if its pieces contradict each other."""
    return STRIPS[format](content)


def orientation(exif: bytes) -> int:
    """Returns EXIF's orientation; 1 if it is no plain number from 1 to 8."""
    tags = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tags[:4])
    if order is None or len(tags) < 8:
        return 1
    (start,) = struct.unpack_from(order + "I", tags, 4)
    if start + 2 > len(tags):
        return 1
    (count,) = struct.unpack_from(order + "H", tags, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(tags) - 11), 12):
        tag, kind, times, value = struct.unpack_from(order + "HHIH", tags, at)
        if tag == ORIENTATION:
            return value if kind == SHORT and times == 1 and 1 <= value <= 8 else 1
    return 1


def _jpeg(content: bytes) -> Stripped:
    kept, exif, profile = [content[:2]], b"", {}
    at, scanning = 2, False
    while marker := JPEG_MARKER.search(content, at):
        start, kind = marker.start(), marker[1]
        end = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
        if scanning:
            kept.append(content[at:start])
        if kind == JPEG_END:
            break
        data = content[marker.end() + 2 : end]
        if kind[0] not in JPEG_NOTES:
            kept.append(content[start:end])
        elif kind == b"\xe0" and data.startswith(b"JFIF\0"):
            kept.append(JFIF)
        elif kind == b"\xee" and data.startswith(b"Adobe") and len(data) >= ADOBE_BYTES:
            kept.append(b"\xff\xee" + (ADOBE_BYTES + 2).to_bytes(2) + data[:ADOBE_BYTES])
        elif kind == b"\xe1" and data.startswith(b"Exif\0\0"):
            exif = exif or data
        elif kind == b"\xe2" and data.startswith(JPEG_PROFILE) and len(data) > len(JPEG_PROFILE) + 2:
            profile[data[len(JPEG_PROFILE)]] = data[len(JPEG_PROFILE) + 2 :]
        # Bytes behind a note between two scans may be more of the first scan's data.
        scanning = kind == JPEG_SCAN or (scanning and kind[0] in JPEG_NOTES)
        at = end
    else:
        # Without an end marker, the rest of the file is the last scan's. A marker that was cut after its first byte is no data.
        kept.append(content[at:].removesuffix(b"\xff"))
    whole = b"".join(profile[number] for number in sorted(profile))
    return Stripped(content=b"".join([*kept, b"\xff\xd9"]), orientation=orientation(exif), profile=whole)


def _png(content: bytes) -> Stripped:
    """Strips a PNG. Keeps the first frame of an animation, if the still picture, for old programs, is no frame of it."""
    needed: list[bytes] = []
    facts: dict[bytes, bytes] = {}
    frames = _PngFrames()
    for kind, data, sound in png_chunks(content):
        frames.look(kind, data, sound=sound)
        if kind in {b"IHDR", b"PLTE", b"IDAT", b"IEND"}:
            needed.append(_chunk(kind, data))
        elif sound and kind in PNG_FACTS:
            facts.setdefault(kind, data)
    header = needed[0][8:21]
    size, depth, colours = struct.unpack(">II", header[:8]), header[8], header[9]
    canvas, place = None, (0, 0)
    if frames.first is not None:
        width, height, *place_at = frames.first
        needed = [_chunk(b"IHDR", struct.pack(">II", width, height) + header[8:]), *_of(needed, b"PLTE")]
        needed += [*(_chunk(b"IDAT", data) for data in frames.data), _chunk(b"IEND", b"")]
        canvas, place = size, (place_at[0], place_at[1])
    clear: tuple[int, ...] = ()
    mark = facts.get(b"tRNS", b"")
    if colours == 3 and mark:
        needed.insert(-1 - len(_of(needed, b"IDAT")), _chunk(b"tRNS", mark))
    elif (colours, len(mark)) in {(0, 2), (2, 6)}:
        clear = tuple(value & (1 << depth) - 1 for value in struct.unpack(f">{len(mark) // 2}H", mark))
    return Stripped(
        content=PNG_START + b"".join(needed),
        orientation=orientation(facts.get(b"eXIf", b"")),
        profile=facts.get(b"iCCP", b""),
        codes=facts.get(b"cICP", b""),
        gamma=_gamma(facts),
        clear=clear,
        depth=depth,
        canvas=canvas,
        place=place,
    )


def _gamma(facts: Mapping[bytes, bytes]) -> float | None:
    """Returns the gamma of the pixels; None if there is none, or if the file says that it is in sRGB."""
    gamma = facts.get(b"gAMA", b"")
    if len(gamma) != 4 or facts.get(b"sRGB") in SRGB_INTENTS:
        return None
    return int.from_bytes(gamma) / 100_000 or None


class _PngFrames:
    """Finds the first frame of an animation, unless it is the still picture. `first`: its width, height, x and y."""

    def __init__(self) -> None:
        self.animated = self.pixels = False
        self.frames = 0
        self.first: tuple[int, int, int, int] | None = None
        self.data: list[bytes] = []

    def look(self, kind: bytes, data: bytes, *, sound: bool) -> None:
        self.animated |= kind == b"acTL" and sound and not self.pixels
        self.pixels |= kind == b"IDAT"
        if not self.animated or not sound:
            return
        if kind == b"fcTL" and len(data) == 26:
            self.frames += 1
            if self.frames == 1 and self.pixels:
                _, width, height, x, y = PNG_FRAME.unpack_from(data)
                self.first = width, height, x, y
        elif kind == b"fdAT" and self.frames == 1 and self.first is not None:
            self.data.append(data[4:])


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yields each chunk's kind, its data, and whether its checksum is right."""
    at = len(PNG_START)
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        kind, data = content[at + 4 : at + 8], content[at + 8 : end - 4]
        yield kind, data, zlib.crc32(data, zlib.crc32(kind)) == int.from_bytes(content[end - 4 : end])
        if kind == b"IEND":
            return
        at = end


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((len(data).to_bytes(4), kind, data, zlib.crc32(data, zlib.crc32(kind)).to_bytes(4)))


def _of(chunks: list[bytes], kind: bytes) -> list[bytes]:
    return [chunk for chunk in chunks if chunk[4:8] == kind]


def _webp(content: bytes) -> Stripped:
    pieces = dict(reversed(list(_riff(content, 12, 8 + int.from_bytes(content[4:8], "little")))))
    canvas, place, image = None, (0, 0), pieces
    frame, extended = pieces.get(b"ANMF"), pieces.get(b"VP8X", b"")
    if extended and not extended[0] & WEBP_ALPHA:
        image = {**pieces, b"ALPH": b""}
    if frame is not None and len(frame) >= 16 and len(extended) >= 10:
        canvas = _small(extended, 4) + 1, _small(extended, 7) + 1
        place = 2 * _small(frame, 0), 2 * _small(frame, 3)
        image = dict(reversed(list(_riff(frame, 16, len(frame)))))
    return Stripped(
        content=_still_webp(image),
        orientation=orientation(pieces.get(b"EXIF", b"")),
        profile=pieces.get(b"ICCP", b""),
        canvas=canvas,
        place=place,
    )


def _still_webp(pieces: Mapping[bytes, bytes]) -> bytes:
    if b"VP8L" in pieces:
        return _riff_of((b"VP8L", pieces[b"VP8L"]))
    pixels, alpha = pieces.get(b"VP8 "), pieces.get(b"ALPH")
    if pixels is None or len(pixels) < 10:
        raise unreadable()
    if not alpha:
        return _riff_of((b"VP8 ", pixels))
    width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", pixels, 6))
    sides = (width - 1).to_bytes(3, "little", signed=True) + (height - 1).to_bytes(3, "little", signed=True)
    return _riff_of((b"VP8X", bytes((WEBP_ALPHA, 0, 0, 0)) + sides), (b"ALPH", alpha), (b"VP8 ", pixels))


def _riff(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    at = start
    while at + 8 <= end:
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if at + 8 + size > end:
            return
        yield content[at : at + 4], content[at + 8 : at + 8 + size]
        at += 8 + size + (size & 1)


def _riff_of(*pieces: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) & 1) for kind, data in pieces
    )
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _small(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _gif(content: bytes) -> Stripped:
    """Strips a GIF. Keeps the first frame, on a screen of the frame's size; the rest of the canvas is transparent."""
    start = 13 + gif_palette_bytes(content[10])
    at, control = start, b""
    while content[at] == 0x21:
        end = _blocks_end(content, at + 2)
        control = content[at:end] if content[at + 1] == 0xF9 else control
        at = end
    if content[at] != 0x2C:
        raise unreadable()
    x, y, width, height, flags = struct.unpack_from("<HHHHB", content, at + 1)
    end = _blocks_end(content, at + 11 + gif_palette_bytes(flags))
    screen = content[:6] + struct.pack("<HH", width, height) + content[10:start]
    frame = b"," + struct.pack("<HHHH", 0, 0, width, height) + content[at + 9 : end]
    screen_width, screen_height = struct.unpack_from("<HH", content, 6)
    canvas = max(screen_width, x + width), max(screen_height, y + height)
    return Stripped(content=screen + control + frame + b";", canvas=canvas, place=(x, y))


def _blocks_end(content: bytes, at: int) -> int:
    while size := content[at]:
        at += 1 + size
    return at + 1


def _bmp(content: bytes) -> Stripped:
    """Strips nothing of a BMP, and finds the profile behind the rows that a header of version 5 may refer to."""
    profile = b""
    if int.from_bytes(content[14:18], "little") == 124 and content[70:74] == b"DEBM" and len(content) >= 138:
        start, size = struct.unpack_from("<II", content, 126)
        profile = content[14 + start : 14 + start + size]
    return Stripped(content=content, profile=profile)


def _boxes(content: bytes) -> Stripped:
    """Strips a HEIC or AVIF: renames its notes in place, so that everything else stays where the file's offsets say."""
    changed = bytearray(content)
    for match in re.finditer(rb"infe([\x02\x03])", content):
        at = match.start() + (12 if match[1] == b"\x02" else 14)
        if content[at : at + 4] in NOTES:
            changed[at : at + 4] = NO_ITEM
    return Stripped(content=bytes(changed))


STRIPS: Mapping[str, Callable[[bytes], Stripped]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "HEIC": _boxes,
    "AVIF": _boxes,
}
