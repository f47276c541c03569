"""Reads JSON strictly, within bounds that are checked before any object is built.

Python's reader accepts what RFC 8259 leaves open or forbids (a repeated name, NaN, 1e999). Each would be given a meaning that
the caller did not write, so each is refused. A byte order mark at the start is skipped, as RFC 8259 allows.

The base64 text of a picture does not count towards the bound of 64 KB. `cut_out` takes it out of a body as a view of its bytes,
so that no Python string of it is ever made. How long a whole body may be is decided before (`config.body_slots`).
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
# The deepest valid body has 6 levels.
MOST_DEPTH = 32
# A string without its closing quote is matched to the end of the text, so that no second match begins inside it.
STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|[\[\]{}]', re.DOTALL)
# The name `base64` and the opening quote of its text.
ENCODED = re.compile(rb'"base64"[ \t\r\n]*+:[ \t\r\n]*+"')
# The characters of base64 that encoders escape: PHP the slash, .NET the plus, Gson the equals sign.
ESCAPES = (
    *((rb"\/", b"/"), (rb"\u002f", b"/"), (rb"\u002F", b"/")),
    *((rb"\u002b", b"+"), (rb"\u002B", b"+"), (rb"\u003d", b"="), (rb"\u003D", b"=")),
)
# Replaces the base64 text in the JSON.
MARK = b"\xe2\x80\xa6 the base64 text that was taken apart \xe2\x80\xa6"


class UnreadableJSON(ValueError):
    """The reason why a text is refused, worded to follow the name of the text."""


class TooLong(UnreadableJSON):
    """The text has more JSON than any view takes."""

    def __init__(self) -> None:
        most = f"{settings.JSON_MAX_BYTES:,}"
        super().__init__(f"holds more than {most} bytes of JSON, the base64 text of a picture apart; send less")


@dataclass(frozen=True)
class Encoded:
    """The base64 text of a picture, as a part of the body that it came in."""

    body: bytearray = field(repr=False)
    start: int
    end: int

    def text(self) -> memoryview | bytearray:
        """Returns the text, copied only if it has escapes."""
        if self.body.find(b"\\", self.start, self.end) < 0:
            return memoryview(self.body)[self.start : self.end]
        text = self.body[self.start : self.end]
        for escape, sign in ESCAPES:
            text = text.replace(escape, sign)
        return text


def cut_out(body: bytearray) -> tuple[bytearray, Encoded | None]:
    """Returns the body without its longest text under the name `base64`, and that text. Raises `TooLong` if the rest is."""
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
    """Returns the parsed body. In a body that is longer than JSON may be, `image.base64` is an `Encoded`."""
    if len(body) <= settings.JSON_MAX_BYTES:
        return loads(body)
    rest, encoded = cut_out(body)
    if rest.count(MARK) > 1:
        raise TooLong
    read = loads(rest, most=settings.JSON_MAX_BYTES + len(MARK))
    image = read.get("image") if isinstance(read, dict) else None
    if not isinstance(image, dict) or image.get("base64") != MARK.decode():
        raise TooLong
    image["base64"] = encoded
    return read


def loads(text: bytes | bytearray, *, most: int | None = None) -> Any:
    """Returns the parsed text. `most`: its most bytes, 64 KB by default. Raises `UnreadableJSON`."""
    if len(text) > (settings.JSON_MAX_BYTES if most is None else most):
        raise TooLong
    text = text.removeprefix(codecs.BOM_UTF8)
    refuse_deep(text)
    try:
        return json.loads(
            text.decode(), object_pairs_hook=without_repeats, parse_int=short, parse_float=finite, parse_constant=finite
        )
    except UnreadableJSON:
        raise
    except UnicodeDecodeError as error:
        raise UnreadableJSON(f"must be UTF-8; byte {error.start} is not") from None
    except json.JSONDecodeError as error:
        raise UnreadableJSON(f"is not JSON: {place(error)}") from None


# What is wrong where Python's reader stops, by the beginning of its message.
FAULTS = {
    "Expecting value": "a value is expected",
    "Expecting property name": "a name in double quotes is expected",
    "Expecting ':'": "a colon is expected",
    "Expecting ','": "a comma or a closing bracket is expected",
    "Illegal trailing comma": "a comma stands before a closing bracket",
    "Extra data": "nothing more is expected",
    "Invalid control character": "a text holds a line break or another control character; write it as an escape, such as \\n",
    "Invalid \\u": "four hexadecimal digits are expected after \\u",
    "Invalid \\escape": "a backslash begins no escape of JSON",
    "Unterminated string": "a text begins that has no closing quote",
}


def place(error: json.JSONDecodeError) -> str:
    """Returns where a text stops to be JSON, and what is expected there."""
    if error.doc.startswith("\ufeff"):
        return "two byte order marks stand in front; send none"
    if not error.doc[error.pos :].strip():
        return "it ends too early; send all of it"
    fault = next((fault for message, fault in FAULTS.items() if error.msg.startswith(message)), "it breaks off")
    return f"in line {error.lineno}, at character {error.colno}, {fault}"


def refuse_deep(text: bytes | bytearray) -> None:
    """Refuses deep nesting before Python's reader, which recurses in C for every level."""
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
    """Returns the whole number. Python would refuse thousands of digits too, but in words for its programmers."""
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
