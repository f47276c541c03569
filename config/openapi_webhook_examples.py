"""An example of the `data` of every event, for the webhooks of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.models import EventType
from accounts.webhooks.schema import SHOWN as ENDPOINT
from providers.api.schema import SHOWN as CREDENTIAL
from searches.api.examples import LOOKUP_ID, SEARCH_SHOWN
from searches.api.reconciliation_schema import COMPARISON

AT = "2026-11-20T09:30:13.240000Z"
FAILURE = {
    "code": "no_answer",
    "detail": "The provider could not be reached. Nothing was billed.",
    "retryable": True,
}


def _ended_lookup(status: str, **changes: Any) -> dict[str, Any]:
    waiting: dict[str, Any] = SEARCH_SHOWN["lookups"][0]
    credits = {"held": "0", "charged": "0", "unknown": "0", "final": True}
    ended = {"status": status, "position": None, "estimated_start_at": None, "waiting_on": None, "credits": credits}
    return {**waiting, **ended, **changes}


SUCCEEDED = _ended_lookup(
    "succeeded",
    credits={"held": "0", "charged": "1", "unknown": "0", "final": True},
    calls=2,
    result_count=40,
    total=1500,
)
FAILED = _ended_lookup("failed", calls=1, error=FAILURE)


def _ended_search(status: str, *lookups: dict[str, Any]) -> dict[str, Any]:
    return {**SEARCH_SHOWN, "status": status, "version": 3, "finished_at": AT, "lookups": list(lookups)}


def _of_the_credential(state: str) -> dict[str, Any]:
    return {**{name: CREDENTIAL[name] for name in ("id", "provider", "label")}, "state": state}


DATA: Mapping[EventType, Any] = {
    EventType.SEARCH_SUCCEEDED: _ended_search("succeeded", SUCCEEDED),
    EventType.SEARCH_PARTIAL: _ended_search(
        "partial", SUCCEEDED, FAILED | {"id": "019a9f3e-6f2d-7a52-9d6e-3f0f4f7e1013"}
    ),
    EventType.SEARCH_FAILED: _ended_search("failed", FAILED),
    EventType.SEARCH_CANCELED: _ended_search("canceled", _ended_lookup("canceled")),
    EventType.SEARCH_EXPIRED: _ended_search("expired", _ended_lookup("expired")),
    EventType.LOOKUP_FINISHED: SUCCEEDED | {"search_id": SEARCH_SHOWN["id"]},
    EventType.CREDITS_SETTLED: {
        "reference": f"lookup:{LOOKUP_ID}",
        "provider": "modash",
        "charged": "0.5",
        "released": "0.5",
        "unknown": "0",
    },
    EventType.CREDITS_DRIFT_FOUND: {
        **{name: COMPARISON[name] for name in ("id", "credential_id", "provider", "billed")},
        "label": CREDENTIAL["label"],
        "counted": "14.5",
        "drift": "2",
    },
    EventType.CREDITS_THRESHOLD_REACHED: {
        "provider": "modash",
        "limit": "tenant_cap",
        "api_key_id": None,
        "share": 80,
        "size": "500",
        "used": "400.5",
        "held": "12.5",
        "left": "87",
        "period_start": "2026-11-01T00:00:00Z",
        "renews_at": "2026-12-01T00:00:00Z",
    },
    EventType.CREDENTIAL_REJECTED: _of_the_credential("invalid"),
    EventType.CREDENTIAL_EXHAUSTED: _of_the_credential("exhausted"),
    EventType.ENDPOINT_DISABLED: {
        **{name: ENDPOINT[name] for name in ("id", "url", "description")},
        "reason": "410 Gone",
    },
    EventType.PING: {"endpoint_id": ENDPOINT["id"]},
}
