"""Describes the views of billing in the OpenAPI document, beside their serializers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view

from accounts.web.pagination import LINK, PageQuery
from billing.query_serializers import EntryQuery, UsageQuery
from billing.serializers import AccountSerializer, EntrySerializer, StatementSerializer, UsageSerializer

AS_A_FILE = (
    "CSV and NDJSON have all rows, streamed, unless `limit` or `cursor` asks for a page. The next page is then in the `Link` "
    "header."
)
FILES: dict[Any, Any] = {(200, "text/csv"): OpenApiTypes.STR, (200, "application/x-ndjson"): OpenApiTypes.STR}
CREDITS = extend_schema_view(
    get=extend_schema(
        operation_id="list_credits",
        summary="Balances",
        description="The tenant's account with each provider. Credits are each provider's own unit and never summed "
        "across providers. `caps` has the caps of the present UTC month, the tenant's and the API key's, "
        "and `grants` what holds may still draw of each grant. "
        "A test key's searches cost nothing, so a test key sees no accounts.",
        parameters=[PageQuery, LINK],
        responses={200: AccountSerializer(many=True)},
    )
)
ENTRIES = extend_schema_view(
    get=extend_schema(
        operation_id="list_credit_entries",
        summary="The ledger, by account, newest first",
        description="Every balance can be rebuilt from these lines: `posted` is grants and adjustments less charges and "
        "expiries, `held` is holds less charges and releases, `unknown` is what became unknown less what was settled. Each "
        "account numbers its own. `created_at` is when a line was written, which is before its commit: order by `number`. "
        + AS_A_FILE,
        parameters=[EntryQuery, LINK],
        responses={200: EntrySerializer(many=True), **FILES},
    )
)
USAGE = extend_schema_view(
    get=extend_schema(
        operation_id="list_usage",
        summary="What was used, by day, source, API key or metadata",
        description="Adds up the charges of the ledger. A charge counts on the UTC day of its entry, for its lookup's source, "
        "and for the API key and the metadata of its search. Metadata are erased with their search; its cost then counts under "
        "null. Credits of different providers are never added: each line names its own. A test key's searches cost nothing, so "
        "a test key sees no lines. " + AS_A_FILE,
        parameters=[UsageQuery, LINK],
        responses={200: UsageSerializer(many=True), **FILES},
        examples=[
            OpenApiExample(
                "By day and source",
                value={
                    "provider": "modash",
                    "day": "2026-11-20",
                    "source": "tiktok-creators",
                    "charged": "12.525",
                    "charges": 26,
                },
                response_only=True,
                media_type="application/json",
            ),
            OpenApiExample(
                "By metadata",
                value={
                    "provider": "modash",
                    "metadata": {"campaign": "spring"},
                    "charged": "1.5",
                    "charges": 3,
                },
                response_only=True,
                media_type="application/json",
            ),
        ],
    )
)
STATEMENTS = extend_schema_view(
    get=extend_schema(
        operation_id="list_statements",
        summary="Closed months, newest first",
        description="One statement an account and UTC month, also of a month without a movement. A statement has the entries "
        "from `first_entry_number` to `last_entry_number` and never changes: what is corrected later belongs to the next "
        "month. A month ends with a number: an entry belongs to the month in which it got its number, even if it was "
        "committed after midnight. The first movement of a new month closes the one before; without a movement that is done "
        "within minutes.",
        parameters=[PageQuery, LINK],
        responses={200: StatementSerializer(many=True)},
    )
)
STATEMENT = extend_schema_view(
    get=extend_schema(
        operation_id="get_statement",
        summary="One closed month",
        description="Keep its `hash`: a ledger that is rewritten later cannot have the same one.",
        responses={200: StatementSerializer},
    )
)
