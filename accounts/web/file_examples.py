"""Examples of the answers that are files, for the OpenAPI document: the rows of the JSON example as CSV and NDJSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiExample

from accounts.web.renderers import CSVRenderer, NDJSONRenderer


def table(rows: Sequence[Any], columns: Sequence[str]) -> OpenApiExample:
    text = b"".join(CSVRenderer.pieces([rows], columns)).decode()
    return OpenApiExample("A table", value=text, media_type=CSVRenderer.media_type, response_only=True)


def files(rows: Sequence[Any], columns: Sequence[str]) -> list[OpenApiExample]:
    text = b"".join(NDJSONRenderer.pieces([rows], ())).decode()
    lines = OpenApiExample("A row a line", value=text, media_type=NDJSONRenderer.media_type, response_only=True)
    return [table(rows, columns), lines]
