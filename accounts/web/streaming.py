"""Streams a whole list as CSV or NDJSON, so that a month of it is one file.

A caller that gives `limit` or `cursor` wants a page, and JSON has its cursor in the body: both are answered in pages. The rows
are read and sent some at a time, and never all in memory. While a client takes them, no connection to the database is held.

A failure before the first rows is answered as any other. After that the status is sent, and the server ends a body the same way
whatever happened (granian ends the chunks of an iterator that raised). A file that is not complete therefore says so itself, in
its last line (`renderers`). Rejected: to write the file to the disk first, for its first byte would come after many seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from django.db import connection
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from accounts.web.pagination import value_of
from accounts.web.renderers import CSVRenderer, NDJSONRenderer

log = logging.getLogger(__name__)

FAILED = "This file is not complete, for the rest of it could not be read; ask for it again."


class Incomplete(Exception):
    """The rows that are left cannot be read any more. `code` and `detail`: for the caller, at the end of the file."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def is_wanted(request: Request) -> bool:
    """Returns whether the caller asks for a file and for no page."""
    is_file = isinstance(request.accepted_renderer, CSVRenderer | NDJSONRenderer)
    return is_file and not {"limit", "cursor"} & set(request.query_params)


def response(request: Request, batches: Iterable[Iterable[Any]], columns: Sequence[str]) -> StreamingHttpResponse:
    renderer = request.accepted_renderer
    assert isinstance(renderer, CSVRenderer | NDJSONRenderer)
    charset = f"; charset={renderer.charset}" if renderer.charset else ""
    rest = iter(batches)
    # Read before there is a status, so that an error has its own.
    first = list(islice(rest, 1))
    pieces = _pieces(renderer, chain(first, rest), columns, name=request.path)
    return StreamingHttpResponse(pieces, content_type=f"{renderer.media_type}{charset}")


def batches(
    rows_after: Callable[[Sequence[str] | None, int], Iterable[Any]], *, keys: Sequence[str], size: int
) -> Iterator[list[Any]]:
    """Yields all rows, so many at a time, each batch from the keys of the last row on.

    `rows_after` returns at most so many rows after the one with these keys. The connection is given back before a batch is sent.
    """
    after: list[str] | None = None
    while rows := list(rows_after(after, size)):
        after = [value_of(rows[-1], key) for key in keys]
        if not connection.in_atomic_block:
            connection.close()
        yield rows


def _pieces(
    renderer: CSVRenderer | NDJSONRenderer, batches: Iterable[Iterable[Any]], columns: Sequence[str], *, name: str
) -> Iterator[bytes]:
    try:
        yield from renderer.pieces(batches, columns)
    except Incomplete as error:
        yield renderer.cut_off(error.code, error.detail)
    except Exception:
        log.exception("%s is cut off", name)
        yield renderer.cut_off("not_ready", FAILED)
