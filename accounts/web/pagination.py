"""Gives every list one form: `{"data", "has_more", "next_cursor"}`.

A cursor has the keys of the last row shown, so that new and deleted rows shift no page, as they would with an offset. The path,
the tenant, the order and the filters are signed with it, so that it is valid for that list only and can be trusted when it comes
back. A cursor of an earlier version, whose keys were others, is no cursor of the list any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.core.signing import BadSignature, Signer
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.web.query_params import Query, WholeNumber

# The parameters that select no rows. A walk may change them from page to page.
NO_FILTERS = {"cursor", "limit", "include"}
LINK = OpenApiParameter(
    "Link",
    str,
    OpenApiParameter.HEADER,
    response=[200],
    description='Where there is a `next_cursor`: `<address of the next page>; rel="next"`.',
)


# The most that one page holds.
MOST_ROWS = 100


# Base64 text of the keys and of the signature.
CURSOR = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"


@extend_schema_field({"type": "string", "pattern": CURSOR})
class CursorText(serializers.CharField):
    """A cursor, for the OpenAPI document. `read` checks it."""


class PageQuery(Query):
    cursor = CursorText(
        required=False,
        help_text="`next_cursor` of the page before, with that page's filters and order; without it, the first page.",
    )
    limit = WholeNumber(
        default=20,
        min_value=1,
        max_value=MOST_ROWS,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), "Must be a whole number from 1 to 100."),
        help_text="The most that one page holds.",
    )


class CursorPages(BasePagination):
    """Pages a view's rows by its `keys`, a unique ordering. If the view `follows`, the last page has a cursor too."""

    has_more: bool
    next_cursor: str | None

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        return self.cut(lambda after: rows_after(queryset, view.keys, after), view.keys, request, view)

    def cut(
        self,
        rows_from: Callable[[Sequence[str] | None], Sequence[Any] | QuerySet[Any]],
        keys: Sequence[str],
        request: Request,
        view: Any,
    ) -> list[Any]:
        self.request = request
        given = view.query.get("cursor")
        signer = Signer(salt=f"{list_id(request)} {view.tenant.pk} {' '.join(keys)} {filters_of(view.query)}", sep=".")
        limit = view.query["limit"]
        rows = list(rows_from(read(signer, given))[: limit + 1])
        self.has_more = len(rows) > limit
        page = rows[:limit]
        self.next_cursor = None
        follows = getattr(view, "follows", False)
        if page and (self.has_more or follows):
            self.next_cursor = signer.sign_object([value_of(page[-1], key) for key in keys])
        elif follows:
            self.next_cursor = given
        return page

    def get_paginated_response(self, data: Any) -> Response:
        response = Response({"data": data, "has_more": self.has_more, "next_cursor": self.next_cursor})
        if self.next_cursor is not None:
            # RFC 8288. CSV and NDJSON have no other place for a cursor.
            query = self.request.query_params.dict() | {"cursor": self.next_cursor}
            response["Link"] = f'<{self.request.path}?{urlencode(query)}>; rel="next"'
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["data", "has_more", "next_cursor"],
            "additionalProperties": False,
            "properties": {
                "data": schema,
                "has_more": {"type": "boolean", "description": "Whether there are more rows now.", "example": True},
                "next_cursor": {
                    "type": ["string", "null"],
                    "description": "Give it as `cursor` to go on; null at the end.",
                    "pattern": CURSOR,
                    "example": "WyI0MSJd.3s8c",
                },
            },
        }


def list_id(request: Request) -> str:
    """Returns the path of a list, with its ids in one spelling."""
    match = request.resolver_match
    assert match is not None
    return f"{match.route} {sorted(match.kwargs.items())}"


def filters_of(query: Mapping[str, Any]) -> str:
    """Returns the values of the filters, in one spelling."""
    return json.dumps({name: query[name] for name in query if name not in NO_FILTERS}, sort_keys=True, default=str)


def read(signer: Signer, cursor: str | None) -> list[str] | None:
    if cursor is None:
        return None
    try:
        values: list[str] = signer.unsign_object(cursor)
    except (BadSignature, ValueError):
        detail = "Not a cursor of this list, order and filters; give `next_cursor` and them as they came, or start without one."
        raise ValidationError({"cursor": [detail]}, code="invalid_cursor") from None
    return values


def rows_after(queryset: QuerySet[Any], keys: Sequence[str], values: Sequence[str] | None) -> QuerySet[Any]:
    """Returns the rows after the one whose keys have these values."""
    ordered = queryset.order_by(*keys)
    if values is None:
        return ordered
    behind, equal = Q(), Q()
    for key, value in zip(keys, values, strict=True):
        name = key.removeprefix("-")
        behind |= equal & Q(**{f"{name}__{'lt' if key.startswith('-') else 'gt'}": value})
        equal &= Q(**{name: value})
    # This adds nothing, but lets PostgreSQL start its index where the page starts.
    start = Q(**{f"{keys[0].removeprefix('-')}__{'lte' if keys[0].startswith('-') else 'gte'}": values[0]})
    return ordered.filter(start, behind)


def value_of(row: Any, key: str) -> str:
    """Returns the value of a key, of a model or of a line that no model stands for."""
    if isinstance(row, Mapping):
        return str(row[key])
    for part in key.removeprefix("-").split("__"):
        row = getattr(row, part)
    return str(row)
