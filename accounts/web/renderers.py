"""Renders lists as CSV and as NDJSON: the same rows as in JSON, with the next page in the `Link` header.

CSV is that of RFC 4180: a head with the names of the columns, CRLF at the end of each record, quotes where they are needed. It is
UTF-8 without a byte order mark, which programs would take for a part of the first name. A list or an object is JSON in one cell.

Names and titles are foreign, so a text that a spreadsheet would run as a formula gets an apostrophe in front. A spreadsheet whose
separator is a semicolon or a tab also begins a cell after each of those, even inside quotes. Numbers stay as they are.

A file that is cut off says so at its end. NDJSON has a last line with the member `error` alone. CSV has a last record that begins
with a quote and has no other, so that a reader that checks its input refuses the file, and one that does not shows the text.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rest_framework.renderers import BaseRenderer
from rest_framework.serializers import Serializer
from rest_framework.utils.encoders import JSONEncoder

# Spreadsheets skip blanks and quotes before a formula, and some skip what nobody sees: controls, marks of width and direction.
SKIPPED = r"""\s"\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"""
# The last ones are the wide and the small forms of the first ones, which spreadsheets for Chinese and Japanese take as well.
BEGINNINGS = r"=+\-@＝＋－＠﹦﹢﹣﹫"
# A run of what is skipped, as long as it is, and what may begin a formula behind it. It takes one step for each character.
RUN = re.compile(rf"(?<![{SKIPPED};])([{SKIPPED};]*+)([{BEGINNINGS}])")
SEPARATORS = (";", "\t", "\r", "\n")
# Most texts begin with neither and have no separator, so that nothing is looked for in them.
SUSPICIOUS = re.compile(rf"[{SKIPPED}{BEGINNINGS}]")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class CSVRenderer(BaseRenderer):
    """Renders the view's `columns`: dotted paths into a row, the same for all rows."""

    media_type = "text/csv"
    format = "csv"

    def render(self, data: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> bytes:
        return b"".join(self.pieces([data["data"]], context["view"].columns if context else ()))

    @staticmethod
    def pieces(batches: Iterable[Iterable[Any]], columns: Sequence[str]) -> Iterator[bytes]:
        """Yields the head, and then each batch of rows."""
        yield _csv([[cell(column) for column in columns]])
        for rows in batches:
            yield _csv([cell(at(row, column)) for column in columns] for row in rows)

    @staticmethod
    def cut_off(code: str, detail: str) -> bytes:
        return f'"ERROR {code}: {detail}'.encode()


class NDJSONRenderer(BaseRenderer):
    media_type = "application/x-ndjson"
    format = "ndjson"
    charset = None

    def render(self, data: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> bytes:
        return b"".join(self.pieces([data["data"]], ()))

    @staticmethod
    def pieces(batches: Iterable[Iterable[Any]], columns: Sequence[str]) -> Iterator[bytes]:
        for rows in batches:
            yield "".join(f"{dumps(row)}\n" for row in rows).encode()

    @staticmethod
    def cut_off(code: str, detail: str) -> bytes:
        return f"{dumps({'error': {'code': code, 'detail': detail}})}\n".encode()


def _csv(rows: Iterable[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def at(row: Any, path: str) -> Any:
    """Returns what a dotted path leads to. A name that a tenant chose may itself have dots."""
    if not isinstance(row, dict):
        return None
    if path in row:
        return row[path]
    name, _, rest = path.partition(".")
    return at(row.get(name), rest) if rest else None


def cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, (bool, dict, list)):
        value = dumps(value)
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        return harmless(value)
    return value


def harmless(text: str) -> str:
    """Returns a text with an apostrophe before each formula. A tab or a line end in front would be cut off."""
    if not SUSPICIOUS.match(text) and not any(separator in text for separator in SEPARATORS):
        return text
    text = RUN.sub(_marked, text)
    return f"'{text}" if text[:1] in ("\t", "\r", "\n") else text


def _marked(run: re.Match[str]) -> str:
    """Marks a formula at the beginning of the text, or behind a separator, which may begin a cell."""
    begins_a_cell = run.start() == 0 or any(separator in run[1] for separator in SEPARATORS)
    return f"{run[1]}'{run[2]}" if begins_a_cell else run[0]


def dumps(value: Any) -> str:
    return json.dumps(value, cls=JSONEncoder, ensure_ascii=False, allow_nan=False)


def columns_of(serializer: Any, prefix: str = "") -> list[str]:
    """Returns the dotted paths of a serializer's fields. A list is one cell."""
    columns: list[str] = []
    for name, field in serializer.fields.items():
        if isinstance(field, Serializer):
            columns += columns_of(field, f"{prefix}{name}.")
        else:
            columns.append(f"{prefix}{name}")
    return columns
