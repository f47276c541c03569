"""The balances, the ledger, the usage and the statements of a tenant, over HTTP.

A test key's searches cost nothing, so it sees no accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast
from uuid import UUID

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from rest_framework.generics import get_object_or_404
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Mode, Scope
from accounts.web import streaming
from accounts.web.entity_tags import Tagged
from accounts.web.pagination import CursorPages, PageQuery, rows_after
from accounts.web.renderers import CSVRenderer, NDJSONRenderer, columns_of
from accounts.web.tenant_view import TenantView
from billing import caps, entry_list, grants, schema, usage
from billing.models import Account, Statement
from billing.query_serializers import EntryQuery, UsageQuery
from billing.serializers import AccountSerializer, EntrySerializer, StatementSerializer, UsageSerializer

# Returns so many rows after the one with these keys.
RowsAfter = Callable[[Sequence[str] | None, int], Sequence[Any] | QuerySet[Any]]
ROWS_AT_ONCE = 1000


class AccountsView(TenantView):
    """Shows rows of a tenant's accounts, with the `columns` of their serializer."""

    scopes = {"GET": Scope.BILLING_READ}
    queryset = Account.objects.all()

    @property
    def columns(self) -> list[str]:
        return columns_of(self.get_serializer_class()())

    @property
    def is_live(self) -> bool:
        return self.api_key.mode == Mode.LIVE

    def accounts(self) -> QuerySet[Account]:
        own: QuerySet[Account] = self.get_queryset()
        return own if self.is_live else own.none()

    def statements(self) -> QuerySet[Statement]:
        return Statement.objects.filter(account__in=self.accounts()).select_related("account")


class LedgerView(AccountsView):
    """A list of a tenant's accounts, entries, usage or statements, as JSON, CSV or NDJSON."""

    query_class = PageQuery
    renderer_classes = (JSONRenderer, CSVRenderer, NDJSONRenderer)

    def listed(self, rows: QuerySet[Any], *, keys: Sequence[str]) -> HttpResponseBase:
        def some(after: Sequence[str] | None, most: int) -> QuerySet[Any]:
            return rows_after(rows, keys, after)[:most]

        return self.answer(some, streaming.batches(some, keys=keys, size=ROWS_AT_ONCE), keys=keys)

    def answer(self, some: RowsAfter, batches: Iterable[Sequence[Any]], *, keys: Sequence[str]) -> HttpResponseBase:
        """Answers a page of the rows, which have these keys, or streams all of them where a file is asked for."""
        if streaming.is_wanted(self.request):
            return streaming.response(self.request, map(self.shown, batches), self.columns)
        pages = cast(CursorPages, self.paginator)
        most = self.query["limit"] + 1
        page = pages.cut(lambda after: some(after, most), keys, self.request, self)
        return self.get_paginated_response(self.shown(page))

    def shown(self, rows: Sequence[Any]) -> Any:
        return self.get_serializer(rows, many=True).data


@schema.CREDITS
class CreditsView(LedgerView):
    serializer_class = AccountSerializer
    keys = ("provider",)

    def get(self, request: Request) -> Response:
        page = grants.attach(caps.attach(self.paginate_queryset(self.accounts()) or [], self.api_key))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


@schema.ENTRIES
class Entries(LedgerView):
    serializer_class = EntrySerializer
    query_class = EntryQuery

    def get(self, request: Request) -> HttpResponseBase:
        accounts = self.accounts()
        if "provider" in self.query:
            accounts = accounts.filter(provider=self.query["provider"])
        rows_after = partial(entry_list.page, accounts, self.query)
        return self.answer(rows_after, entry_list.batches(accounts, self.query), keys=entry_list.KEYS)


@schema.USAGE
class UsageView(LedgerView):
    serializer_class = UsageSerializer
    query_class = UsageQuery
    # The beginnings of the tenant's API keys, by their ids.
    prefixes: dict[str, str] = {}

    @property
    def report(self) -> usage.UsageReport:
        query = self.query
        return usage.UsageReport(
            tenant_id=self.tenant.pk,
            groups=query["group_by"],
            since=query.get("created_after"),
            until=query.get("created_before"),
            provider=query.get("provider", ""),
            source=query.get("source", ""),
        )

    @property
    def columns(self) -> list[str]:
        prefix = ["api_key_prefix"] if "api_key" in self.query["group_by"] else []
        return [*self.report.keys, *prefix, "charged", "charges"]

    def get(self, request: Request) -> HttpResponseBase:
        report = self.report
        if not self.is_live:
            return self.answer(lambda after, most: [], [], keys=report.keys)
        self.prefixes = usage.prefixes(self.tenant)
        return self.answer(report.page, report.batches(), keys=report.keys)

    def shown(self, rows: Sequence[Any]) -> Any:
        return super().shown([usage.shown(line, self.prefixes) for line in rows])


@schema.STATEMENTS
class Statements(LedgerView):
    serializer_class = StatementSerializer
    # Newest first. A tenant has one account with a provider.
    keys = ("-month", "account__provider")

    def get(self, request: Request) -> HttpResponseBase:
        return self.listed(self.statements(), keys=self.keys)


class OneRowCSVRenderer(CSVRenderer):
    """Renders one object as a table of one row."""

    def render(self, data: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> bytes:
        return super().render({"data": [data]}, media_type, context)


@schema.STATEMENT
class OneStatement(Tagged, AccountsView):
    serializer_class = StatementSerializer
    renderer_classes = (JSONRenderer, OneRowCSVRenderer)

    def get(self, request: Request, id: UUID) -> Response:
        return Response(self.get_serializer(get_object_or_404(self.statements(), pk=id)).data)
