"""The lists that belong to one search: its results and its calls."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from accounts.web.pagination import PageQuery
from accounts.web.renderers import CSVRenderer, NDJSONRenderer, columns_of
from searches.api import schema
from searches.api.query_serializers import ResultQuery
from searches.api.result_serializers import CallSerializer, ResultSerializer
from searches.api.views.searches import SearchView
from searches.models import Call, Result

RESULTS_ERASED = "The results of this search were erased when their retention was over; search again."
# The ORM lookup of each query parameter.
FILTERS = {"lookup": "lookup", "source": "lookup__source", "type": "type"}


class ListOfASearch(SearchView):
    scopes = {"GET": Scope.SEARCHES_READ}

    def of_the_search(self, rows: QuerySet[Any], name: str) -> QuerySet[Any]:
        search = get_object_or_404(self.get_queryset(), pk=self.kwargs["id"])
        return rows.filter(**{name: search})


@schema.RESULTS
class Results(ListOfASearch):
    renderer_classes = (JSONRenderer, CSVRenderer, NDJSONRenderer)
    query_class = ResultQuery
    error_codes = {"GET": ("results_erased",)}

    @property
    def keys(self) -> tuple[str, ...]:
        return ("sequence",) if self.follows else ("lookup__ordinal", "rank")

    @property
    def follows(self) -> bool:
        return bool(self.query["order"] == "arrival")

    @property
    def columns(self) -> list[str]:
        return columns_of(ResultSerializer(context={"raw": self.raw}))

    @property
    def raw(self) -> bool:
        return "include" in self.query

    def get(self, request: Request, id: UUID) -> Response:
        if self.get_queryset().filter(pk=id, results_erased_at__isnull=False).exists():
            raise NotFound(RESULTS_ERASED, code="results_erased")
        rows = self.of_the_search(Result.objects.select_related("lookup"), "search")
        rows = rows.filter(**{FILTERS[name]: self.query[name] for name in FILTERS if name in self.query})
        page = self.paginate_queryset(rows if self.raw else rows.defer("raw")) or []
        serializer = ResultSerializer(page, many=True, context={"raw": self.raw})
        return self.get_paginated_response(serializer.data)


@schema.CALLS
class Calls(ListOfASearch):
    query_class = PageQuery
    keys = ("armed_at", "id")

    def get(self, request: Request, id: UUID) -> Response:
        rows = self.of_the_search(Call.objects.select_related("lookup"), "lookup__search")
        page = self.paginate_queryset(rows.defer("excerpt")) or []
        return self.get_paginated_response(CallSerializer(page, many=True).data)
