"""JSON as it is read here: strict, and bounded before it is built.

Python's reader takes what RFC 8259 leaves open or forbids (a name twice, NaN, 1e999); each would mean something that the
caller did not say, so each is refused. A byte order mark in front is passed over, as RFC 8259 lets a reader do.

The base64 text of a picture is no part of the bound of 64 KB. `apart` takes it out of a body as a view of its bytes, so that
no Python string of it is ever made.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

MOST_DIGITS = 1000
# The deepest body that is taken has 6.
MOST_DEPTH = 32
# A string without its end is matched up to where the text ends: two tries never begin in the same one.
STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|[\[\]{}]', re.DOTALL)
# The name `base64`, and the quote after which its text begins.
ENCODED = re.compile(rb'"base64"[ \t\r\n]*+:[ \t\r\n]*+"')
# Some encoders escape these signs of base64 (PHP the slash, .NET the plus, Gson the equals sign), and none any other.
ESCAPES = (
    *((rb"\/", b"/"), (rb"\u002f", b"/"), (rb"\u002F", b"/")),
    *((rb"\u002b", b"+"), (rb"\u002B", b"+"), (rb"\u003d", b"="), (rb"\u003D", b"=")),
)
# Stands in the JSON where the text was.
MARK = b"\xe2\x80\xa6 the base64 text that was taken apart \xe2\x80\xa6"


class UnreadableJSON(ValueError):
    """Why a text is not taken, in words that go on after its name."""


class TooLong(UnreadableJSON):
    """More JSON than is taken anywhere."""

    def __init__(self) -> None:
        most = f"{settings.JSON_MAX_BYTES:,}"
        super().__init__(f"holds more than {most} bytes of JSON, the base64 text of a picture apart; send less")


@dataclass(frozen=True)
class Encoded:
    """The base64 text of a picture, still in the body that brought it."""

    body: bytearray = field(repr=False)
    start: int
    end: int

    def text(self) -> memoryview | bytearray:
        """Copies it only where there are escapes to undo."""
        if self.body.find(b"\\", self.start, self.end) < 0:
            return memoryview(self.body)[self.start : self.end]
        text = self.body[self.start : self.end]
        for escape, sign in ESCAPES:
            text = text.replace(escape, sign)
        return text


def apart(body: bytearray) -> tuple[bytearray, Encoded | None]:
    """The body without the longest text that is named `base64`, and that text. Raises `TooLong` where the rest is."""
    longest: Encoded | None = None
    position, room = 0, settings.JSON_MAX_BYTES
    while room > 0 and (match := ENCODED.search(body, position, position + room)):
        room -= match.end() - position
        position = body.find(b'"', match.end())
        if position < 0:
            break
        if longest is None or position - match.end() > longest.end - longest.start:
            longest = Encoded(body, match.end(), position)
    if longest is None or len(body) - (longest.end - longest.start) > settings.JSON_MAX_BYTES:
        raise TooLong
    return body[: longest.start] + MARK + body[longest.end :], longest


def loads_with_picture(body: bytearray) -> Any:
    """The JSON of the body, where `image.base64` is an `Encoded` if the whole is longer than JSON may be."""
    if len(body) <= settings.JSON_MAX_BYTES:
        return loads(body)
    rest, encoded = apart(body)
    if rest.count(MARK) > 1:
        raise TooLong
    read = loads(rest, most=settings.JSON_MAX_BYTES + len(MARK))
    image = read.get("image") if isinstance(read, dict) else None
    if not isinstance(image, dict) or image.get("base64") != MARK.decode():
        raise TooLong
    image["base64"] = encoded
    return read


def loads(text: bytes | bytearray, *, most: int | None = None) -> Any:
    """Raises `UnreadableJSON`. `most`: bytes; as JSON may have anywhere, if not said."""
    if len(text) > (settings.JSON_MAX_BYTES if most is None else most):
        raise TooLong
    text = text.removeprefix(codecs.BOM_UTF8)
    refuse_deep(text)
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=without_repeats,
            parse_int=short,
            parse_float=finite,
            parse_constant=finite,
        )
    except UnreadableJSON:
        raise
    except UnicodeDecodeError as error:
        raise UnreadableJSON(f"must be UTF-8; byte {error.start} is not") from None
    except json.JSONDecodeError as error:
        raise UnreadableJSON(f"is not JSON: {in_our_words(error)}") from None


def in_our_words(error: json.JSONDecodeError) -> str:
    if error.doc.startswith("\ufeff"):
        return "two byte order marks stand in front; send none"
    return str(error)


def refuse_deep(text: bytes | bytearray) -> None:
    """Before Python's reader, which goes one level deeper in C for each."""
    if text.count(b"[") + text.count(b"{") <= MOST_DEPTH:
        return
    depth = 0
    for match in STRING_OR_BRACKET.finditer(text):
        sign = text[match.start()]
        depth += (sign in b"[{") - (sign in b"]}")
        if depth > MOST_DEPTH:
            raise UnreadableJSON(f"is nested too deeply; nothing that is taken here has more than {MOST_DEPTH} levels")


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise UnreadableJSON(f"is not taken: the name {repeated[:100]!r} stands in one object twice; give it once")
    return members


def short(text: str) -> int:
    """Python refuses to read thousands of digits, in words for its programmers."""
    if len(text) > MOST_DIGITS:
        raise UnreadableJSON(
            f"is not taken: {text[:20]}… has {len(text)} digits; nothing that is taken here has more than {MOST_DIGITS}"
        )
    return int(text)


def finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise UnreadableJSON(f"is not taken: {text[:20]} is no number that JSON can hold; give a finite one")
    return number
