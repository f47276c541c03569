"""Removes the tenant's key and its picture from what is kept or shown of a provider's answer.

A provider may quote our request in an error, in any escaping. An excerpt is therefore unescaped first, and shows neither the
key nor a long piece of it.
"""

from __future__ import annotations

import html
import re
import string
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

# Characters of a kept excerpt.
LONGEST_EXCERPT = 2048
# Runs of base64's letters as long as this are a key or a piece of a picture.
UNBROKEN = re.compile(r"[A-Za-z0-9+/_=-]{40,}")
# A piece of the key as long as this is hidden. A shorter one gives nothing away, and hiding it would hide ordinary words too.
PIECE = 12
# Only so much of an answer is looked at: an excerpt is at most its first words, and the rest may be a whole picture.
LOOKED_AT = 65_536
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
JSON_ESCAPE = re.compile(r"""\\u00([2-7][0-9a-f])|\\(["'/\\])""", re.IGNORECASE)
URL_ESCAPE = re.compile(r"%([2-7][0-9a-f])", re.IGNORECASE)


def excerpt(content: bytes | str, secret: str) -> str:
    """Returns the beginning of an answer, unescaped, without the key or a picture."""
    start = content[:LOOKED_AT]
    text = start.decode("utf-8", "replace") if isinstance(start, bytes) else start
    return UNBROKEN.sub("…", _without_key(text.replace("\0", ""), secret))[:LONGEST_EXCERPT]


def quotes(text: str, secret: str) -> bool:
    """Returns whether a text has the key in it, or a long piece of it, in some escaping."""
    return _without_key(text, secret) != _plain(text)


def request_id(given: object, secret: str) -> str:
    """Returns a provider's id of a request; empty if it is not a text or quotes the key."""
    start = given[:LOOKED_AT] if isinstance(given, str) else ""
    return "" if quotes(start, secret) else start


def _without_key(text: str, secret: str) -> str:
    """Unescapes the text step by step, and removes the key before each step, for the key may look like an escape itself.

    Each step is made twice, for an error page may quote JSON that quotes a URL. Upper and lower case are equal, for a
    header's value may come back in either.
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
    written, key = text.translate(LOWER), secret.translate(LOWER)
    pieces = {key[start : start + size] for start in range(len(key) - size + 1)}
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
