"""Reads what providers answer, field by field.

What was paid for is handed over: of an item only its identity must be readable, any other field may be odd, and is None then.
What cannot be identified is counted and shown to operators. Only an envelope that says neither what was found nor that nothing
was is refused whole.
"""

from __future__ import annotations

import html
import json
import math
import re
import string
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from providers.web_addresses import web_address

# No page of any provider has as many; what has more would take longer to keep than a transaction may.
MOST_OBJECTS = 5000
# The longest that are read as what they are; the raw object has all of it.
LONGEST_TEXT, LONGEST_IDENTITY = 10_000, 200
# Digits: a double has 309 at most, and Python reads no more than 4,300.
LONGEST_NUMBER = 320
LARGEST_COUNT = 2**63 - 1
# No document of a provider goes deeper than six; a database's parser and Python's have an end.
MOST_NESTED = 64
# So many of what cannot be identified are looked at for an excerpt.
MOST_SHOWN = 20
# Of a `Content-Type`. No codec of Python's that is none of letters, as base64, begins like these.
CHARSET = re.compile(
    r"""charset\s*=\s*["']?((?:utf-?(?:8|16|32)|iso|latin|windows|cp|shift|euc|gb|big5|koi8)[\w-]*)""", re.IGNORECASE
)
STRUCTURE = re.compile(r"""[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)""", re.DOTALL)
# A key or a piece of a picture, if a provider should quote our request: long runs of base64's letters.
UNBROKEN = re.compile(r"[A-Za-z0-9+/_=-]{40,}")
# So many characters of a key in a row are hidden; fewer open nothing, and would hide ordinary words too.
PIECE = 12
# How far an answer is looked at: most of what is kept are its first words, and the rest may be a whole picture.
LOOKED_AT = 65_536
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
JSON_ESCAPE = re.compile(r"""\\u00([2-7][0-9a-f])|\\(["'/\\])""", re.IGNORECASE)
URL_ESCAPE = re.compile(r"%([2-7][0-9a-f])", re.IGNORECASE)


class Unreadable(Exception):
    """Says in a few words what is wrong with the envelope of an answer, without quoting it."""


def parse(content: bytes, content_type: str = "") -> Any:
    """Returns a JSON answer as PostgreSQL can keep it; None, if it is not JSON.

    One odd value must not cost the rest: numbers that JSON or a double does not have become their text, NUL and lone
    surrogates are left out, and what is nested too deeply is null.
    """
    text = _decoded(content, content_type)
    try:
        try:
            return _storable(_loaded(text))
        except RecursionError:
            return _storable(_loaded(_shallow(text)))
    except (ValueError, RecursionError):
        return None


def _loaded(text: str) -> Any:
    return json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=str, strict=False)


def _decoded(content: bytes, content_type: str) -> str:
    """JSON is UTF-8, or says by its first bytes what else it is. What is neither is of the `charset` that is named, and what
    nobody can decode loses single letters alone.
    """
    encoding = json.detect_encoding(content)
    named = CHARSET.search(content_type)
    for candidate in (encoding, named[1] if named else encoding):
        try:
            return content.decode(candidate)
        except (UnicodeError, LookupError):
            continue
    return content.decode(encoding, "replace")


def _whole(text: str) -> int | str:
    return int(text) if len(text) <= LONGEST_NUMBER else text[:LONGEST_NUMBER]


def _real(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text[:LONGEST_NUMBER]


def _shallow(text: str) -> str:
    """JSON with null in the place of what is nested too deeply for Python's reader."""
    kept, copied, depth = [], 0, 0
    for found in STRUCTURE.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth == MOST_NESTED + 1:
                kept += [text[copied : found.start()], "null"]
        elif found[0] in "]}":
            if depth == MOST_NESTED + 1:
                copied = found.end()
            depth -= 1
    return "".join([*kept, text[copied:] if depth <= MOST_NESTED else ""])


def _storable(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return [_storable(item, depth + 1) for item in value] if depth < MOST_NESTED else None
    if isinstance(value, dict):
        return (
            {_text(name): _storable(item, depth + 1) for name, item in value.items()} if depth < MOST_NESTED else None
        )
    return value


def _text(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Fields:
    """One object of an answer. A field that is missing, or of another kind than is asked for, is None."""

    value: Any

    def text(self, name: str) -> str | None:
        """Not an empty one, nor one as long as a book."""
        value = self.value.get(name)
        return value if isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT else None

    def identity(self, name: str) -> str | None:
        """Returns the value that tells one thing from others: a text as a column holds it, or a whole number."""
        value = self.value.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return value if isinstance(value, str) and value.strip() and len(value) <= LONGEST_IDENTITY else None

    def number(self, name: str) -> Any:
        """One that a double can hold: a whole number of JSON may be larger than that."""
        value = self.value.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and abs(value) <= sys.float_info.max else None

    def score(self, name: str) -> float | None:
        """Whatever a provider compares by, as a column of doubles holds it."""
        number = self.number(name)
        return None if number is None else float(number)

    def count(self, name: str) -> int | None:
        """A whole number that 64 bits hold; a negative one stands for a hidden count."""
        number = self.number(name)
        return int(number) if number is not None and 0 <= number <= LARGEST_COUNT and number == int(number) else None

    def web_address(self, name: str) -> str | None:
        return web_address(self.value.get(name))

    def object(self, name: str) -> Fields:
        value = self.value.get(name)
        return Fields(value if isinstance(value, dict) else {})

    def objects(self, name: str) -> list[Fields]:
        values = self.value.get(name)
        found = [Fields(value) for value in values if isinstance(value, dict)] if isinstance(values, list) else []
        return found[:MOST_OBJECTS]


@dataclass(frozen=True)
class Items:
    """Holds the items that an answer lists: `known` by their identity, in its order, and others that are all alike."""

    known: list[tuple[str, Fields]]
    others: list[Any]

    def excerpt(self, secret: str) -> str:
        """The beginning of the others, for operators."""
        return excerpt(json.dumps(self.others[:MOST_SHOWN], ensure_ascii=False), secret) if self.others else ""


def items(listed: list[Any], identify: Callable[[Fields], str | None]) -> Items:
    """Sorts what was listed by whether it can be identified. More than a transaction may keep counts as cannot."""
    known, others = [], listed[MOST_OBJECTS:]
    for value in listed[:MOST_OBJECTS]:
        fields = Fields(value) if isinstance(value, dict) else None
        identity = identify(fields) if fields else None
        if fields is None or identity is None:
            others.append(value)
        else:
            known.append((identity, fields))
    return Items(known, others)


def brought_something(listed: Any) -> bool:
    """Whether it is a list with an object in it: whatever the rest of the answer says, that is what was searched for."""
    return isinstance(listed, list) and any(isinstance(value, dict) for value in listed)


def excerpt(content: bytes | str, secret: str) -> str:
    """What may be kept of an answer: neither our key nor a picture that it quotes, however either is escaped there."""
    start = content[:LOOKED_AT]
    text = start.decode("utf-8", "replace") if isinstance(start, bytes) else start
    return UNBROKEN.sub("…", _unescaped(text.replace("\0", ""), secret))[:2048]


def quotes(text: str, secret: str) -> bool:
    """Whether our key, or enough of it, is there in some escaping."""
    return _unescaped(text, secret) != _plain(text)


def request_id(given: Any, secret: str) -> str:
    """What a provider calls the request, to be named to it in a complaint; none, where that is our own key come back."""
    start = given[:LOOKED_AT] if isinstance(given, str) else ""
    return "" if quotes(start, secret) else start


def _unescaped(text: str, secret: str) -> str:
    """Without the key, which is looked for before each step, for it may itself have what looks like an escape.

    Each step is made twice, for an error page may quote JSON that quotes a URL. Small and capital letters are the same: what
    a header said may come back in either.
    """
    if not secret:
        return _plain(text)
    key = re.compile(re.escape(secret), re.IGNORECASE)
    for unescape in ESCAPINGS * 2:
        text = unescape(key.sub("…", text))
    return _without_pieces(text, _plain(secret))


def _plain(text: str) -> str:
    for unescape in ESCAPINGS * 2:
        text = unescape(text)
    return text


def _without_pieces(text: str, secret: str) -> str:
    size = min(len(secret), PIECE)
    written, ours = text.translate(LOWER), secret.translate(LOWER)
    pieces = {ours[start : start + size] for start in range(len(ours) - size + 1)}
    hidden = bytearray(len(text))
    for start in range(len(text) - size + 1):
        if written[start : start + size] in pieces:
            hidden[start : start + size] = b"\1" * size
    runs = groupby(zip(hidden, text, strict=True), key=itemgetter(0))
    return "".join("…" if is_hidden else "".join(letter for _, letter in run) for is_hidden, run in runs)


def _without_json_escapes(text: str) -> str:
    return JSON_ESCAPE.sub(lambda found: found[2] or _letter(found), text)


def _without_url_escapes(text: str) -> str:
    return URL_ESCAPE.sub(_letter, text)


def _letter(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


ESCAPINGS: tuple[Callable[[str], str], ...] = (_without_json_escapes, _without_url_escapes, html.unescape)
