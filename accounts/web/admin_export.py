"""Streams a filtered list of the operators' pages as CSV: every row that matches, in bounded memory.

A file has the columns of the table, but those that no page shows and those that lists leave out: secrets, files, bodies. It is
written as the API's files are (`renderers`): a text that a spreadsheet would run is made harmless, and a file that is cut off
says so in its last line. Who had which rows is in the log of acts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BinaryField, Field, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts import acts
from accounts.models import Tenant
from accounts.numbers import decimal_text
from accounts.web.admin_lists import MOST_ROWS, RowList
from accounts.web.renderers import CSVRenderer
from accounts.web.streaming import FAILED

log = logging.getLogger(__name__)

EXPORT = "export"
acts.kinds.add(EXPORT)
# The name in an address of what is looked for, which an operator may have pasted: it is not put on record.
SEARCHED = "q"
OF_A_TENANT = "tenant__id__exact"
ROWS_A_BATCH = 500
# Columns that no file has, whatever the model: what leads to a picture, and what is made of a key.
NEVER = {"file", "password", "digest", "fingerprint", "key_fingerprint", "failing_key"}


def response(request: HttpRequest, changes: RowList) -> HttpResponseBase:
    """Returns the file of all rows of a list, on whatever page of it the operator is."""
    fields = list(exported(changes))
    columns = [field.name for field in fields]
    _put_on_record(request, changes)
    name = f"{changes.opts.model_name}-{timezone.now():%Y-%m-%d-%H%M%S}.csv"
    pieces = _pieces(_batches(changes), fields, columns, name=name)
    return StreamingHttpResponse(
        pieces,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"},
    )


def _put_on_record(request: HttpRequest, changes: RowList) -> None:
    """Records the act: on the tenant whose rows they are, if it is filtered by one, and else on the operator who has them."""
    asked: dict[str, str] = {name: str(value) for name, value in request.GET.items() if name != SEARCHED and value}
    asked |= {"looked for": "a text"} if request.GET.get(SEARCHED) else {}
    owners = [asked[name] for name in asked if name.endswith(OF_A_TENANT)]
    filters = ", ".join(f"{name} {value}" for name, value in asked.items()) or "no filter"
    row = Tenant.objects.filter(pk=owners[0]).first() if owners else None
    detail = f"Exported {changes.opts.verbose_name_plural}, with {filters}."
    operator: Any = request.user
    acts.record(acts.by_request(request), EXPORT, row or operator, detail=detail)


def exported(changes: RowList) -> Iterator[Field[Any, Any]]:
    """Yields the columns of a file."""
    left_out, is_deferred = changes.queryset.query.deferred_loading
    hidden = {*NEVER, *getattr(changes.model_admin, "secret_fields", ()), *(left_out if is_deferred else ())}
    for field in changes.opts.concrete_fields:
        if field.name not in hidden and not isinstance(field, BinaryField):
            yield field


def _batches(changes: RowList) -> Iterator[list[Any]]:
    """Yields all rows, some at a time. The connection is given back before they are sent."""
    read = _by_id if changes.is_by_id else _by_offset
    for rows in read(changes.queryset):
        if not connection.in_atomic_block:
            connection.close()
        yield rows


def _by_id(queryset: QuerySet[Any]) -> Iterator[list[Any]]:
    rows = list(queryset[:ROWS_A_BATCH])
    while rows:
        yield rows
        rows = list(queryset.filter(pk__lt=rows[-1].pk)[:ROWS_A_BATCH])


def _by_offset(queryset: QuerySet[Any]) -> Iterator[list[Any]]:
    for first in range(0, MOST_ROWS, ROWS_A_BATCH):
        rows = list(queryset[first : first + ROWS_A_BATCH])
        if rows:
            yield rows
        if len(rows) < ROWS_A_BATCH:
            return


def _pieces(
    batches: Iterable[list[Any]], fields: list[Field[Any, Any]], columns: list[str], *, name: str
) -> Iterator[bytes]:
    rows = ([_row(row, fields) for row in batch] for batch in batches)
    try:
        yield from CSVRenderer.pieces(rows, columns)
    except Exception:
        log.exception("%s is cut off", name)
        yield CSVRenderer.cut_off("not_ready", FAILED)


def _row(row: Any, fields: list[Field[Any, Any]]) -> dict[str, Any]:
    return {field.name: _plain(getattr(row, field.attname)) for field in fields}


def _plain(value: Any) -> Any:
    """Returns a value as the API's files have it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return decimal_text(value)
    return str(value) if isinstance(value, UUID) else value
