"""The `webhooks` of the OpenAPI document: every event with its headers and its body, for the authors of receivers.

The bodies are built in three apps. A test compares them with these schemas.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from accounts.models import EventType
from accounts.webhooks.delivery import LONGEST_SECONDS
from billing.models import ThresholdAlert
from config import openapi_webhook_examples

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
HEADERS = {
    "webhook-id": "The event's, the same in every attempt: what you have handled is not handled again.",
    "webhook-timestamp": "Seconds since 1970, of this attempt.",
    "webhook-signature": "`v1,` and a signature by the endpoint's secret; while it rotates two, a space between them.",
}
HOW_TO_RECEIVE = f"Verify the signature, answer with 2xx within {LONGEST_SECONDS:g} seconds, and handle each id once."
EXAMPLES = {
    "webhook-id": "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c021",
    "webhook-timestamp": "1763631013",
    "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
}


def _object(meaning: str, /, **fields: Schema) -> Schema:
    return {
        "type": "object",
        "description": meaning,
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


# The `data` of events, by the names of their schemas. `Search` is the one that GET answers.
DATA: dict[str, Schema] = {
    "CreditsSettled": _object(
        "It is known now whether a provider billed a call.",
        reference=TEXT | {"description": "The lookup, as in the ledger: `lookup:<id>`."},
        provider=TEXT,
        charged=CREDITS | {"description": "What was charged."},
        released=CREDITS | {"description": "What is no longer held."},
        unknown=CREDITS | {"description": "What of the same lookup still is unknown."},
    ),
    "CreditsDrift": _object(
        "A provider counted another number of credits than your calls cost.",
        id=ID | {"description": "The id of the reconciliation."},
        credential_id=ID | {"description": "The provider key whose account was compared."},
        provider=TEXT,
        label=TEXT | {"description": "The label of the key."},
        counted=SIGNED_CREDITS | {"description": "What the provider counted."},
        billed=CREDITS | {"description": "What your own calls with the key cost."},
        drift=SIGNED_CREDITS | {"description": "The difference; negative where the provider counted less."},
    ),
    "CreditsThreshold": _object(
        "A share of a cap, or of the last grant, is used.",
        provider=TEXT,
        limit=TEXT
        | {
            "enum": ThresholdAlert.Limit.values,
            "description": "The tenant's cap, an API key's, or the last grant.",
        },
        api_key_id={"type": ["string", "null"], "format": "uuid", "description": "Whose cap, if it is an API key's."},
        share={"type": "integer", "enum": [50, 80, 100], "description": "In per cent of the size."},
        size=CREDITS | {"description": "The cap, or what was granted."},
        used=CREDITS
        | {"description": "Of a cap: charged in the period. Of a grant: its size less what is still posted."},
        held=CREDITS | {"description": "What is held under this limit."},
        left=CREDITS | {"description": "What may still be held under this limit."},
        period_start=TIME | {"description": "When the month of the cap began, or the credits were granted."},
        renews_at={
            "type": ["string", "null"],
            "format": "date-time",
            "description": "When the next month of the cap begins; null for a grant, whose period lasts until the next one.",
        },
    ),
    "DeadCredential": _object(
        "A provider key that the provider refused, or whose account is empty. Searches wait for another.",
        id=ID,
        provider=TEXT,
        label=TEXT | {"description": "Distinguishes several keys to one provider."},
        state=TEXT
        | {"enum": ["invalid", "exhausted"], "description": "`invalid`: refused. `exhausted`: no credits are left."},
    ),
    "DisabledEndpoint": _object(
        "An endpoint that gets no more events. The other endpoints are told.",
        id=ID,
        url=TEXT | {"format": "uri", "description": "The address that events were sent to."},
        description=TEXT | {"description": "Your own note."},
        reason=TEXT | {"description": "Why it was disabled."},
    ),
    "Ping": _object("A test event.", endpoint_id=ID | {"description": "The endpoint that it is sent to."}),
}
NAMES: dict[EventType, str] = {
    EventType.SEARCH_SUCCEEDED: "Search",
    EventType.SEARCH_PARTIAL: "Search",
    EventType.SEARCH_FAILED: "Search",
    EventType.SEARCH_CANCELED: "Search",
    EventType.SEARCH_EXPIRED: "Search",
    EventType.LOOKUP_FINISHED: "FinishedLookup",
    EventType.CREDITS_SETTLED: "CreditsSettled",
    EventType.CREDITS_DRIFT_FOUND: "CreditsDrift",
    EventType.CREDITS_THRESHOLD_REACHED: "CreditsThreshold",
    EventType.CREDENTIAL_REJECTED: "DeadCredential",
    EventType.CREDENTIAL_EXHAUSTED: "DeadCredential",
    EventType.ENDPOINT_DISABLED: "DisabledEndpoint",
    EventType.PING: "Ping",
}


def schemas(components: dict[str, Schema]) -> dict[str, Schema]:
    """Returns the schemas of the events and of their data, by their names. `components`: the other schemas of the document."""
    lookup = components["Lookup"]
    finished = {
        **lookup,
        "description": "A lookup that has ended, and the id of its search.",
        "properties": {
            **deepcopy(lookup["properties"]),
            "search_id": ID | {"description": "The search that it belongs to."},
        },
        "required": [*lookup["required"], "search_id"],
    }
    return {**deepcopy(DATA), "FinishedLookup": finished, **{name_of(type): _event(type) for type in EventType}}


def name_of(type: EventType) -> str:
    return f"{type.value.title().replace('.', '').replace('_', '')}Event"


def _event(type: EventType) -> Schema:
    return _object(
        f"The body of the event `{type.value}`.",
        type={"type": "string", "const": type.value, "description": "The type of the event."},
        timestamp=TIME | {"description": "The time at which it happened."},
        data={"$ref": f"#/components/schemas/{NAMES[type]}"},
    )


def webhooks() -> dict[str, Any]:
    """Returns the webhooks by event type."""
    return {type.value: {"post": _operation(type)} for type in EventType}


def _operation(type: EventType) -> dict[str, Any]:
    title = f"{type.label[:1].upper()}{type.label[1:]}"
    shown = {
        "type": type.value,
        "timestamp": openapi_webhook_examples.AT,
        "data": openapi_webhook_examples.DATA[type],
    }
    content = {"schema": {"$ref": f"#/components/schemas/{name_of(type)}"}, "examples": {"Event": {"value": shown}}}
    return {
        "operationId": f"on_{type.value.replace('.', '_')}",
        "summary": title,
        "description": f"{title}. {HOW_TO_RECEIVE}",
        "tags": ["webhook-endpoints"],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {**TEXT},
                "example": EXAMPLES[name],
            }
            for name, text in HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"2XX": {"description": "It is received. After anything else it is sent again, for three days."}},
    }
