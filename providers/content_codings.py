"""Unpacks answers that a server compressed although it was asked not to (`Content-Encoding`), within a bound.

The answer is paid for, so as much as possible is read: all that was packed, or what precedes a fault or a cut. A few kilobytes
can unpack to gigabytes, so every decoder has a bound on what it returns. Content that is no stream of the coding in its header
is returned as it is: proxies have been seen to unpack an answer and keep the header.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import brotli
import zstandard

if TYPE_CHECKING:
    from zlib import _Decompress

# No server was seen to apply more codings, and each further one could be a bomb of its own.
MOST_CODINGS = 4
# A gzip file may have several members, end to end. Each costs a copy of the rest.
MOST_MEMBERS = 16
# The window that RFC 8878 recommends for HTTP: 8 MiB.
LARGEST_WINDOW = 8 * 1024 * 1024
GZIP, ZLIB, RAW = 31, 15, -15
# A decoder that meets a fault loses what it unpacked of the same piece. Only that piece is fed again, by single bytes.
PIECE_BYTES = 4096
ZSTD_READ_BYTES = 65_536

# Takes content and the most bytes, and returns at most one byte more than those.
Decoder = Callable[[bytes, int], bytes]


class UnpackedTooLarge(Exception):
    """Unpacked, the content has more bytes than may be read."""


class NotCoded(Exception):
    """The content seems to be no stream of the coding that its header names."""


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """Holds the bytes that were packed up to a stream's end, its first fault or its cut. `rest` follows the end."""

    found: bytes
    ended: bool
    rest: bytes


def decoded(content: bytes, codings: str, *, most_bytes: int) -> bytes:
    """Returns the unpacked content. The last coding in the header is undone first. Raises `UnpackedTooLarge`."""
    names = [name.strip().lower() for name in codings.split(",")]
    for name in reversed(names[:MOST_CODINGS]):
        decode = DECODERS.get(name)
        if decode is None:
            continue
        try:
            content = decode(content, most_bytes)
        except NotCoded:
            return content
        if len(content) > most_bytes:
            raise UnpackedTooLarge
    return content


class _Brotli:
    """Unpacks brotli behind the names of zlib's decompressors."""

    # Brotli's decoder takes bytes behind the end for a fault.
    unused_data = b""

    def __init__(self) -> None:
        self.stream = brotli.Decompressor()
        self.eof = False

    def decompress(self, piece: bytes, most_bytes: int) -> bytes:
        found = bytearray(self.stream.process(piece, output_buffer_limit=most_bytes))
        while len(found) < most_bytes and not self.stream.can_accept_more_data():
            found += self.stream.process(b"", output_buffer_limit=most_bytes - len(found))
        self.eof = bool(self.stream.is_finished())
        return bytes(found[:most_bytes])


def _unpacked(opened: Callable[[], _Decompress | _Brotli], content: bytes, most_bytes: int) -> Unpacked:
    stream = opened()
    found, taken = _fed(stream, _pieces(content, PIECE_BYTES), most_bytes)
    if not stream.eof and taken < len(content) and len(found) <= most_bytes:
        stream = opened()
        sound, faulty = content[:taken], content[taken : taken + PIECE_BYTES]
        found, taken = _fed(stream, chain(_pieces(sound, PIECE_BYTES), _pieces(faulty, 1)), most_bytes)
    return Unpacked(found=found, ended=stream.eof, rest=stream.unused_data + content[taken:])


def _fed(stream: _Decompress | _Brotli, pieces: Iterable[bytes], most_bytes: int) -> tuple[bytes, int]:
    """Returns the unpacked bytes, and how many packed ones were fed without a fault."""
    found, taken = bytearray(), 0
    for piece in pieces:
        try:
            found += stream.decompress(piece, most_bytes - len(found) + 1)
        except (zlib.error, brotli.error):
            break
        taken += len(piece)
        if stream.eof or len(found) > most_bytes:
            break
    return bytes(found), taken


def _pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def _gunzip(content: bytes, most_bytes: int) -> bytes:
    """Unpacks the members of a gzip file; what follows them is padding."""
    first = member = _unpacked(partial(zlib.decompressobj, GZIP), content, most_bytes)
    found = _known_by_its_mark(first)
    for _ in range(MOST_MEMBERS - 1):
        if not member.ended or not member.rest or len(found) > most_bytes:
            break
        member = _unpacked(partial(zlib.decompressobj, GZIP), member.rest, most_bytes - len(found))
        found += member.found
    return found


def _deflate(content: bytes, most_bytes: int) -> bytes:
    """Unpacks with the wrapping of zlib, as the RFC has it, or without one, as some servers do."""
    wrapped = _unpacked(partial(zlib.decompressobj, ZLIB), content, most_bytes)
    if wrapped.ended or len(wrapped.found) > most_bytes:
        return wrapped.found
    # Any bytes may look like the beginning of a raw stream.
    raw = _unpacked(partial(zlib.decompressobj, RAW), content, most_bytes)
    if wrapped.found and not raw.ended:
        return wrapped.found
    return _without_a_mark(raw, content)


def _unbrotli(content: bytes, most_bytes: int) -> bytes:
    unpacked = _unpacked(_Brotli, content, most_bytes)
    return unpacked.found if len(unpacked.found) > most_bytes else _without_a_mark(unpacked, content)


def _known_by_its_mark(unpacked: Unpacked) -> bytes:
    """Returns the bytes of a coding whose streams begin with a mark. Raises `NotCoded` where no mark was found."""
    if not unpacked.found and not unpacked.ended:
        raise NotCoded
    return unpacked.found


def _without_a_mark(unpacked: Unpacked, content: bytes) -> bytes:
    """Returns the bytes of a coding without a mark. Many texts look like the beginning of such a stream. Raises `NotCoded` for
    a text that does not unpack to its end, because packed content has bytes that are no text.
    """
    if not (unpacked.ended and not unpacked.rest) and _is_text(content):
        raise NotCoded
    return _known_by_its_mark(unpacked)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        # A text may be cut within its last letter.
        return error.reason == "unexpected end of data"
    return True


def _unzstd(content: bytes, most_bytes: int) -> bytes:
    """Unpacks the frames of a zstd file. Blocks before a fault count; of a block that is cut, nothing can be had."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
    found, ended = bytearray(), False
    with decompressor.stream_reader(content, read_across_frames=True) as reader:
        while len(found) <= most_bytes and not ended:
            try:
                # `read1` returns each block by itself, so that a fault in the next one loses nothing.
                more = reader.read1(min(ZSTD_READ_BYTES, most_bytes + 1 - len(found)))
            except zstandard.ZstdError:
                break
            found += more
            ended = not more
    return _known_by_its_mark(Unpacked(found=bytes(found), ended=ended, rest=b""))


DECODERS: dict[str, Decoder] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
