"""The `webhooks` of the OpenAPI document: every event with its headers and its body, for the authors of receivers.

The bodies are built in three apps. A test compares them with these schemas.
"""

from __future__ import annotations

from typing import Any

from accounts.models import EventType
from billing.models import ThresholdAlert

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "format": "uuid"}
CREDITS: Schema = {
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]{1,6})?$",
    "description": "In the provider's own credits.",
}
SIGNED_CREDITS: Schema = CREDITS | {"pattern": r"^-?[0-9]+(\.[0-9]{1,6})?$"}
TIME: Schema = {"type": "string", "format": "date-time"}
SEARCH: Schema = {"$ref": "#/components/schemas/Search"}
HEADERS = {
    "webhook-id": "The event's, the same in every attempt: what you have handled is not handled again.",
    "webhook-timestamp": "Seconds since 1970, of this attempt.",
    "webhook-signature": "`v1,` and a signature by the endpoint's secret; while it rotates two, a space between them.",
}


def _object(**fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


CREDENTIAL = _object(id=ID, provider=TEXT, label=TEXT, state=TEXT)
DATA: dict[EventType, Schema] = {
    EventType.SEARCH_SUCCEEDED: SEARCH,
    EventType.SEARCH_PARTIAL: SEARCH,
    EventType.SEARCH_FAILED: SEARCH,
    EventType.SEARCH_CANCELED: SEARCH,
    EventType.SEARCH_EXPIRED: SEARCH,
    EventType.CREDITS_SETTLED: _object(
        reference={"type": "string", "description": "As in the ledger: `lookup:<id>`."},
        provider=TEXT,
        charged=CREDITS,
        released=CREDITS,
        unknown=CREDITS | {"description": "What of the same lookup still is unknown."},
    ),
    EventType.CREDITS_DRIFT_FOUND: _object(
        id=ID | {"description": "The reconciliation's."},
        credential_id=ID,
        provider=TEXT,
        label=TEXT,
        counted=SIGNED_CREDITS | {"description": "What the provider counted."},
        billed=CREDITS | {"description": "What your own calls with the key cost."},
        drift=SIGNED_CREDITS | {"description": "The difference; negative where the provider counted less."},
    ),
    EventType.CREDITS_THRESHOLD_REACHED: _object(
        provider=TEXT,
        limit={
            "type": "string",
            "enum": ThresholdAlert.Limit.values,
            "description": "The tenant's cap, an API key's, or the last grant.",
        },
        api_key_id={"type": ["string", "null"], "format": "uuid", "description": "Whose cap, if it is an API key's."},
        share={"type": "integer", "enum": [50, 80, 100], "description": "In per cent of the size."},
        size=CREDITS | {"description": "The cap, or what was granted."},
        used=CREDITS
        | {"description": "Of a cap: charged in the period. Of a grant: its size less what is still posted."},
        held=CREDITS,
        left=CREDITS | {"description": "What may still be held under this limit."},
        period_start=TIME | {"description": "When the month of the cap began, or the credits were granted."},
        renews_at={
            "type": ["string", "null"],
            "format": "date-time",
            "description": "When the next month of the cap begins; null for a grant, whose period lasts until the next one.",
        },
    ),
    EventType.CREDENTIAL_REJECTED: CREDENTIAL,
    EventType.CREDENTIAL_EXHAUSTED: CREDENTIAL,
    EventType.ENDPOINT_DISABLED: _object(id=ID, url=TEXT, description=TEXT, reason=TEXT),
    EventType.PING: _object(endpoint_id=ID),
}


def webhooks(components: dict[str, Schema]) -> dict[str, Any]:
    """Returns the webhooks by event type. `components`: the schemas of the document."""
    lookup = components["Lookup"]
    finished = {
        **lookup,
        "properties": {**lookup["properties"], "search_id": ID},
        "required": [*lookup["required"], "search_id"],
    }
    data = {**DATA, EventType.LOOKUP_FINISHED: finished}
    return {type.value: {"post": _operation(type, data[type])} for type in EventType}


def _operation(type: EventType, data: Schema) -> dict[str, Any]:
    body = _object(type={"const": type.value}, timestamp=TIME, data=data)
    return {
        "operationId": f"on_{type.value.replace('.', '_')}",
        "summary": f"{type.label[:1].upper()}{type.label[1:]}",
        "tags": ["webhook-endpoints"],
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": TEXT}
            for name, text in HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"2XX": {"description": "It is received. After anything else it is sent again, for three days."}},
    }
