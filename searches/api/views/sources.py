"""The list of sources over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from accounts.web.pagination import CursorPages, PageQuery
from accounts.web.tenant_view import TenantView
from providers import registry
from searches.api import schema, source_catalog


@schema.SOURCES
class Sources(TenantView):
    scopes = {"GET": Scope.SEARCHES_READ}
    query_class = PageQuery
    keys = ("source",)

    def get(self, request: Request) -> Response:
        pages = cast(CursorPages, self.paginator)
        page = pages.cut(adapters_after, self.keys, request, self)
        sources = source_catalog.describe([adapter.source for adapter in page], self.api_key)
        return self.get_paginated_response(source_catalog.SourceSerializer(sources, many=True).data)


def adapters_after(last: Sequence[str] | None) -> list[Any]:
    """Returns the adapters behind the given sort keys, in the order of their sources."""
    return [registry.adapter(source) for source in sorted(registry.ADAPTERS) if not last or source > last[0]]
