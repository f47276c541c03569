"""Describes the views of billing in the OpenAPI document, beside their serializers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view

from accounts.web import file_examples
from accounts.web.pagination import LINK, PageQuery
from accounts.web.renderers import columns_of
from billing.query_serializers import EntryQuery, UsageQuery
from billing.serializers import AccountSerializer, EntrySerializer, StatementSerializer, UsageSerializer

AS_A_FILE = (
    "CSV and NDJSON have all rows, streamed, unless `limit` or `cursor` asks for a page. The next page is then in the `Link` "
    "header."
)
FILES: dict[Any, Any] = {(200, "text/csv"): OpenApiTypes.STR, (200, "application/x-ndjson"): OpenApiTypes.STR}
ACCOUNT: dict[str, Any] = {
    "provider": "modash",
    "kind": "prepaid",
    "posted": "812.35",
    "held": "12.5",
    "available": "799.85",
    "unknown": "0",
    "caps": [
        {
            "limit": "tenant_cap",
            "size": "500",
            "used": "187.65",
            "held": "12.5",
            "left": "299.85",
            "renews_at": "2026-12-01T00:00:00Z",
        }
    ],
    "grants": [
        {
            "number": 1,
            "amount": "1000",
            "available": "799.85",
            "priority": 50,
            "expires_at": None,
            "memo": "Invoice 1042",
        }
    ],
}
ENTRY: dict[str, Any] = {
    "id": "019a9f3e-81ab-7a10-8f10-9b1c5a33e006",
    "provider": "modash",
    "number": 42,
    "kind": "charge",
    "amount": "0.5",
    "posted_after": "812.35",
    "held_after": "12.5",
    "unknown_after": "0",
    "reference": "lookup:019a9f3e-6f2d-7a52-9d6e-3f0f4f7e1003",
    "memo": "",
    "created_at": "2026-11-20T09:30:13.120000Z",
}
DAY: dict[str, Any] = {
    "provider": "modash",
    "day": "2026-11-20",
    "source": "tiktok-creators",
    "charged": "12.525",
    "charges": 26,
}
MONTH: dict[str, Any] = {
    "id": "019a3d51-7c00-7b31-9a0e-2f1d3c4b5009",
    "provider": "modash",
    "month": "2026-10",
    "first_entry_number": 1,
    "last_entry_number": 41,
    "opening": {"posted": "0", "held": "0", "unknown": "0"},
    "by_kind": {
        "grant": "1000",
        "expiry": "0",
        "adjustment": "0",
        "charge": "187.15",
        "hold": "200.15",
        "release": "0",
        "unknown": "0",
    },
    "closing": {"posted": "812.85", "held": "13", "unknown": "0"},
    "closed_at": "2026-11-01T00:00:41.207000Z",
    "last_entry_hash": "5f0c7b1d9a63e8f24b10c6d7e5a3f8912b4c6d8e0f1a2b3c4d5e6f708192a3b4",
    "previous_hash": "",
    "hash": "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2",
}
CREDITS = extend_schema_view(
    get=extend_schema(
        operation_id="list_credits",
        summary="Balances",
        description="The tenant's account with each provider. Credits are each provider's own unit and never summed "
        "across providers. `caps` has the caps of the present UTC month, the tenant's and the API key's, "
        "and `grants` what holds may still draw of each grant. "
        "A test key's searches cost nothing, so a test key sees no accounts.",
        parameters=[PageQuery, LINK],
        responses={200: AccountSerializer(many=True), **FILES},
        examples=[
            OpenApiExample("An account", value=ACCOUNT, response_only=True),
            *file_examples.files([ACCOUNT], columns_of(AccountSerializer())),
        ],
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
        examples=[
            OpenApiExample("An entry", value=ENTRY, response_only=True),
            *file_examples.files([ENTRY], columns_of(EntrySerializer())),
        ],
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
                value=DAY,
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
            *file_examples.files([DAY], list(DAY)),
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
        responses={200: StatementSerializer(many=True), **FILES},
        examples=[
            OpenApiExample("A month", value=MONTH, response_only=True),
            *file_examples.files([MONTH], columns_of(StatementSerializer())),
        ],
    )
)
STATEMENT = extend_schema_view(
    get=extend_schema(
        operation_id="get_statement",
        summary="One closed month",
        description="Keep its `hash`: a ledger that is rewritten later cannot have the same one.",
        responses={200: StatementSerializer, (200, "text/csv"): OpenApiTypes.STR},
        examples=[
            OpenApiExample("A month", value=MONTH, response_only=True),
            file_examples.table([MONTH], columns_of(StatementSerializer())),
        ],
    )
)
