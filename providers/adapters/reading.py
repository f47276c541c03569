"""Reads what providers answer, field by field, and says which field is not as their document promises.

An answer is read whole or not at all: half of a result would be charged and look like all of it.
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
from typing import Any, NoReturn

# No page of any provider has as many; what has more would take longer to keep than a transaction may.
MOST_OBJECTS = 5000
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
    """Says in a few words what is wrong with an answer, without quoting it."""


def parse(content: bytes) -> Any:
    """A JSON answer as PostgreSQL can keep it: finite numbers, no NUL, no lone surrogates. None, if it is not JSON."""
    try:
        return _storable(json.loads(content, parse_float=_finite, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return None


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError("not a number of JSON")


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return value


@dataclass(frozen=True)
class Fields:
    """One object of an answer. With `strict` off, a field that is missing or of another type is None."""

    value: Any
    path: str = ""
    strict: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.value, dict):
            raise Unreadable(f"{self.path or 'it'} is not a JSON object")

    def text(self, name: str, *, instead: str | None = None) -> Any:
        """With `instead` the field is optional."""
        if instead is not None and self.value.get(name) in (None, ""):
            return instead
        return self._take(name, "a text", lambda value: isinstance(value, str))

    def number(self, name: str) -> Any:
        return self._take(name, "a number", _is_number)

    def score(self, name: str) -> float | None:
        """Optional; whatever a provider compares by, as a column of doubles holds it."""
        return None if self.value.get(name) is None else float(self._take(name, "a number", _is_number))

    def count(self, name: str) -> Any:
        """A whole number; a negative one stands for a hidden count and is None."""
        count = self._take(name, "a whole number", lambda value: _is_number(value) and value == int(value))
        return None if count is None or count < 0 else int(count)

    def object(self, name: str) -> Fields:
        value = self.value.get(name)
        if not self.strict and not isinstance(value, dict):
            value = {}
        return Fields(value, self._path(name), self.strict)

    def objects(self, name: str, *, strict: bool = True) -> list[Fields]:
        values = self._take(name, "a list", lambda value: isinstance(value, list))
        if len(values or ()) > MOST_OBJECTS:
            raise Unreadable(f"{self._path(name)} has more than {MOST_OBJECTS} entries")
        return [Fields(value, f"{self._path(name)}[{index}]", strict) for index, value in enumerate(values or ())]

    def _take(self, name: str, promised: str, accepts: Any) -> Any:
        value = self.value.get(name)
        if name in self.value and accepts(value):
            return value
        if not self.strict:
            return None
        raise Unreadable(f"{self._path(name)} is {f'not {promised}' if name in self.value else 'missing'}")

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}".lstrip(".")


def _is_number(value: Any) -> bool:
    """One that a double can hold: a whole number of JSON may be larger than that."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


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
