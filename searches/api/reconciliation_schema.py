"""Describes the views of reconciliations in the OpenAPI document, beside what their serializers say."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view

from accounts.web.pagination import LINK, PageQuery
from searches.api.reconciliation_serializers import ReadingSerializer, ReconciliationSerializer

COMPARISON: dict[str, Any] = {
    "id": "019a9f3e-5b10-7b44-9a0e-2f1d3c4b5007",
    "credential_id": "019a9f3e-5b10-7b44-9a0e-2f1d3c4b5006",
    "provider": "modash",
    "began_at": "2026-11-20T09:12:04.531000Z",
    "ended_at": "2026-11-21T09:12:41.207000Z",
    "state": "matches",
    "detail": "The provider counted what the calls with this key cost.",
    "counted": "12.5",
    "calls": 25,
    "billed": "12.5",
    "overbilled": "0",
    "overlapping": "0",
    "unknown": "0",
    "is_shared": False,
    "topped_up": "0",
    "drift": "0",
    "created_at": "2026-11-21T09:12:41.210000Z",
}
READING: dict[str, Any] = {
    "id": "019a9f3e-5b10-7b44-9a0e-2f1d3c4b5008",
    "credential_id": "019a9f3e-5b10-7b44-9a0e-2f1d3c4b5006",
    "provider": "modash",
    "read_at": "2026-11-21T09:12:41.207000Z",
    "credits": "799.85",
    "detail": "The provider counted what the calls with this key cost.",
    "reconciliation": COMPARISON,
}

RECONCILE = extend_schema_view(
    post=extend_schema(
        tags=["credentials"],
        operation_id="reconcile_credential",
        summary="Compare a provider's own count with the calls",
        description="Asks the provider, at no cost, for the credits that the key's account has left, and compares what it "
        "counted since the last reading with what the calls with the key cost. Sightline does so once a day by itself. The "
        "first reading of a key has nothing to be compared with, nor has one that is more than 7 days after the one before. "
        "If the provider tells no count (only Modash does), the answer is 409; if it cannot be asked now, 503. "
        "Neither leaves a reading. A test key is refused (403).",
        request=None,
        responses={200: ReadingSerializer},
        examples=[OpenApiExample("A reading", value=READING, response_only=True)],
    )
)
RECONCILIATIONS = extend_schema_view(
    get=extend_schema(
        tags=["credentials"],
        operation_id="list_reconciliations",
        summary="The comparisons of a key, newest first",
        description="A test key sees none.",
        parameters=[PageQuery, LINK],
        responses={200: ReconciliationSerializer(many=True)},
        examples=[OpenApiExample("A reconciliation", value=COMPARISON, response_only=True)],
    )
)
