"""Renders lists as CSV and as NDJSON: the same rows as in JSON, with the next page in the `Link` header.

Names and titles are foreign, so a text that a spreadsheet would run as a formula gets an apostrophe in front. A spreadsheet whose
separator is a semicolon or a tab also begins a cell after each of those, even inside quotes.
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

# A formula at the beginning of a text, or after another separator, which may begin a cell.
FORMULA = re.compile(r"""(^[\s"]*|[;\t\r\n][\s";]*)([=+\-@＝＋－＠])""")
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


def _csv(rows: Iterable[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def at(row: Any, path: str) -> Any:
    """Returns what a dotted path leads to. A name that a tenant chose may itself have dots."""
    if not isinstance(row, Mapping):
        return None
    if path in row:
        return row[path]
    name, _, rest = path.partition(".")
    return at(row.get(name), rest) if rest else None


def cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool | Mapping | list):
        value = dumps(value)
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        return harmless(value)
    return value


def harmless(text: str) -> str:
    """Returns a text with an apostrophe before each formula. A tab or a line end in front would be cut off."""
    text = FORMULA.sub(r"\1'\2", text)
    return f"'{text}" if text[:1] in ("\t", "\r", "\n") else text


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
