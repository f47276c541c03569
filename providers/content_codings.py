"""Undoes what a server did to its answer although it was asked not to (`Content-Encoding`), within a bound.

The answer is paid for, so it is read. A few kilobytes can unpack to gigabytes, so every decoder is told the most that it may
give out. What is no valid stream of the coding that its header names is left as it is: proxies have been seen to unpack an
answer and keep the header.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import zstandard

# Nobody applies more; each further one could be a bomb of its own.
MOST_CODINGS = 4
# A gzip file may be several, end to end; each costs a copy of the rest.
MOST_MEMBERS = 16
# As RFC 8878 recommends for HTTP.
LARGEST_WINDOW = 8 * 1024 * 1024
GZIP, ZLIB, RAW = 31, 15, -15

# Content and the most bytes, to no more than one byte more than those.
Decoder = Callable[[bytes, int], bytes]


class TooLarge(Exception):
    """There is more in it than may be taken."""


def decoded(content: bytes, codings: str, *, most_bytes: int) -> bytes:
    """Returns what was coded, the coding that was applied last undone first. Raises `TooLarge`."""
    names = [name.strip().lower() for name in codings.split(",")]
    for name in reversed(names[:MOST_CODINGS]):
        decode = DECODERS.get(name)
        if decode is None:
            continue
        try:
            content = decode(content, most_bytes)
        except (zlib.error, brotli.error, zstandard.ZstdError):
            return content
        if len(content) > most_bytes:
            raise TooLarge
    return content


def _gunzip(content: bytes, most_bytes: int) -> bytes:
    found, rest = _inflate(content, most_bytes, GZIP)
    for _ in range(MOST_MEMBERS - 1):
        if not rest or len(found) > most_bytes:
            break
        try:
            more, rest = _inflate(rest, most_bytes - len(found), GZIP)
        except zlib.error:
            # Padding.
            break
        found += more
    return found


def _deflate(content: bytes, most_bytes: int) -> bytes:
    """In the wrapping of zlib, as the RFC has it, or without one, as some servers do."""
    try:
        return _inflate(content, most_bytes, ZLIB)[0]
    except zlib.error:
        # Any bytes may look like the beginning of one.
        return _inflate(content, most_bytes, RAW, is_whole=True)[0]


def _inflate(content: bytes, most_bytes: int, wrapping: int, *, is_whole: bool = False) -> tuple[bytes, bytes]:
    """What was packed, and what stands behind its end."""
    stream = zlib.decompressobj(wrapping)
    found = stream.decompress(content, most_bytes + 1)
    if is_whole and not stream.eof and len(found) <= most_bytes:
        raise zlib.error
    return found, stream.unused_data


def _unbrotli(content: bytes, most_bytes: int) -> bytes:
    stream = brotli.Decompressor()
    found = bytearray(stream.process(content, output_buffer_limit=most_bytes + 1))
    while len(found) <= most_bytes and not stream.can_accept_more_data():
        found += stream.process(b"", output_buffer_limit=most_bytes + 1 - len(found))
    return bytes(found[: most_bytes + 1])


def _unzstd(content: bytes, most_bytes: int) -> bytes:
    stream = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
    return stream.stream_reader(content, read_across_frames=True).read(most_bytes + 1)


DECODERS: dict[str, Decoder] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
