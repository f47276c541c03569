"""Streams a whole list as CSV or NDJSON, so that a month of it is one file.

A caller that gives `limit` or `cursor` wants a page, and JSON has its cursor in the body: both are answered in pages. The rows
are read and sent some at a time, and never all in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.request import Request

from accounts.web.renderers import CSVRenderer, NDJSONRenderer


def is_wanted(request: Request) -> bool:
    """Returns whether the caller asks for a file and for no page."""
    is_file = isinstance(request.accepted_renderer, CSVRenderer | NDJSONRenderer)
    return is_file and not {"limit", "cursor"} & set(request.query_params)


def response(request: Request, batches: Iterable[Iterable[Any]], columns: Sequence[str]) -> StreamingHttpResponse:
    renderer = request.accepted_renderer
    assert isinstance(renderer, CSVRenderer | NDJSONRenderer)
    charset = f"; charset={renderer.charset}" if renderer.charset else ""
    return StreamingHttpResponse(renderer.pieces(batches, columns), content_type=f"{renderer.media_type}{charset}")
