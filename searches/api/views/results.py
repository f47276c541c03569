"""The lists that belong to one search: its results and its calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.functional import cached_property
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from accounts.web import streaming
from accounts.web.pagination import CursorPages, PageQuery
from accounts.web.renderers import CSVRenderer, NDJSONRenderer, columns_of
from searches.api import result_list, schema
from searches.api.query_serializers import ResultQuery
from searches.api.result_list import ResultList
from searches.api.result_serializers import CallSerializer, ResultSerializer
from searches.api.views.searches import SearchView
from searches.models import Call, Result, Search


@schema.RESULTS
class Results(SearchView):
    scopes = {"GET": Scope.SEARCHES_READ}
    renderer_classes = (JSONRenderer, CSVRenderer, NDJSONRenderer)
    query_class = ResultQuery
    error_codes = {"GET": ("results_erased",)}

    @property
    def follows(self) -> bool:
        return bool(self.query["order"] == "arrival")

    @property
    def columns(self) -> list[str]:
        return columns_of(self.serializer)

    @cached_property
    def serializer(self) -> ResultSerializer:
        """The serializer of every row. One for each batch would keep its rows until the garbage is collected."""
        return ResultSerializer(context={"raw": "include" in self.query})

    def get(self, request: Request, id: UUID) -> HttpResponseBase:
        results = ResultList(self.readable(id), self.query)
        if streaming.is_wanted(request):
            return self.file(id, results)
        pages, most = cast(CursorPages, self.paginator), self.query["limit"] + 1
        page = pages.cut(lambda after: results.page(after, most), results.keys, request, self)
        return self.get_paginated_response(self.shown(page))

    def readable(self, id: UUID) -> Search:
        """Returns a search whose results are there. Raises `Http404` or `NotFound`."""
        search: Search = get_object_or_404(self.get_queryset(), pk=id)
        if search.results_erased_at is not None:
            raise NotFound(result_list.ERASED, code="results_erased")
        return search

    def file(self, id: UUID, results: ResultList) -> HttpResponseBase:
        """Returns the results as a file. If they were erased before its first row was read, raises what `readable` does."""
        try:
            return streaming.response(self.request, map(self.shown, results.batches()), self.columns)
        except streaming.Incomplete:
            self.readable(id)
            raise

    def shown(self, results: Sequence[Result]) -> list[dict[str, Any]]:
        return [self.serializer.to_representation(result) for result in results]


@schema.CALLS
class Calls(SearchView):
    scopes = {"GET": Scope.SEARCHES_READ}
    query_class = PageQuery
    keys = ("armed_at", "id")

    def get(self, request: Request, id: UUID) -> Response:
        search = get_object_or_404(self.get_queryset(), pk=id)
        rows: QuerySet[Call] = Call.objects.filter(lookup__search=search).select_related("lookup").defer("excerpt")
        page = self.paginate_queryset(rows) or []
        return self.get_paginated_response(CallSerializer(page, many=True).data)
