"""The balances, the ledger and the statements of a tenant, over HTTP.

A test key's searches cost nothing, so it sees no accounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.generics import get_object_or_404
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Mode
from accounts.web.pagination import PageQuery
from accounts.web.renderers import CSVRenderer, NDJSONRenderer, columns_of
from accounts.web.tenant_view import TenantView
from billing import schema
from billing.models import Account, Entry, Statement
from billing.serializers import AccountSerializer, EntrySerializer, StatementSerializer


class AccountsView(TenantView):
    """What a tenant's accounts have, as rows with the `columns` of their serializer."""

    queryset = Account.objects.all()

    @property
    def columns(self) -> list[str]:
        return columns_of(self.get_serializer_class()())

    def accounts(self) -> QuerySet[Account]:
        own: QuerySet[Account] = self.get_queryset()
        return own if self.api_key.mode == Mode.LIVE else own.none()

    def statements(self) -> QuerySet[Statement]:
        return Statement.objects.filter(account__in=self.accounts()).select_related("account")


class LedgerView(AccountsView):
    """A list of a tenant's accounts, entries or statements, as JSON, CSV or NDJSON."""

    query_class = PageQuery
    renderer_classes = (JSONRenderer, CSVRenderer, NDJSONRenderer)
    keys: tuple[str, ...]

    def listed(self, rows: QuerySet[Any]) -> Response:
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


@schema.CREDITS
class CreditsView(LedgerView):
    serializer_class = AccountSerializer
    keys = ("provider",)

    def get(self, request: Request) -> Response:
        return self.listed(self.accounts())


@schema.ENTRIES
class Entries(LedgerView):
    serializer_class = EntrySerializer
    # One index, read backwards: the numbers of one account are no order of another's.
    keys = ("-account_id", "-number")

    def get(self, request: Request) -> Response:
        # With the accounts' ids a page is the next part of the index. With a subquery all entries would be sorted for each page.
        own = list(self.accounts().values_list("pk", flat=True))
        return self.listed(Entry.objects.filter(account__in=own).select_related("account"))


@schema.STATEMENTS
class Statements(LedgerView):
    serializer_class = StatementSerializer
    # Newest first. A tenant has one account with a provider.
    keys = ("-month", "account__provider")

    def get(self, request: Request) -> Response:
        return self.listed(self.statements())


class OneRowCSVRenderer(CSVRenderer):
    """Renders one object as a table of one row."""

    def render(self, data: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> bytes:
        return super().render({"data": [data]}, media_type, context)


@schema.STATEMENT
class OneStatement(AccountsView):
    serializer_class = StatementSerializer
    renderer_classes = (JSONRenderer, OneRowCSVRenderer)

    def get(self, request: Request, id: UUID) -> Response:
        return Response(self.get_serializer(get_object_or_404(self.statements(), pk=id)).data)
