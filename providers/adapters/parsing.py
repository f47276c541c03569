"""Parses the JSON of providers' answers so that PostgreSQL can keep it.

One odd value must not cost the rest of an answer that was paid for. Numbers that JSON or a double does not have become their
text, NUL and lone surrogates are left out, and a value that is nested too deeply becomes null.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

# Digits. A double has at most 309, and Python reads at most 4,300.
LONGEST_NUMBER = 320
# The documents of the providers nest six levels. The parsers of PostgreSQL and Python have a limit.
MOST_NESTED = 64
# The `charset` of a `Content-Type`. No codec of Python's that is not for text, such as base64, begins like these.
CHARSET = re.compile(
    r"""charset\s*=\s*["']?((?:utf-?(?:8|16|32)|iso|latin|windows|cp|shift|euc|gb|big5|koi8)[\w-]*)""", re.IGNORECASE
)
STRUCTURE = re.compile(r"""[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)""", re.DOTALL)


def parse(content: bytes, content_type: str = "") -> Any:
    """Returns a JSON answer as PostgreSQL can keep it; None if it is not JSON."""
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
    """Decodes by the first bytes, as JSON's standard says, else by the `charset`. If both fail, single letters are replaced."""
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
    """Returns the JSON with null in place of everything that is nested too deeply for Python's parser."""
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
