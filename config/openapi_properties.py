"""Completes the schemas of the OpenAPI document: what properties mean and which values they have, where no serializer says so.

These are the columns of models, which serializers show as they are, and names that mean one thing everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from accounts.models import EventType
from accounts.web.pagination import MOST_ROWS
from config.openapi_enums import FORMATS, PROVIDERS, RESULT_TYPES, SOURCES, Schema


def _text(description: str, **more: Any) -> Schema:
    return {"description": description, **more}


def _count(description: str, **more: Any) -> Schema:
    return {"description": description, "minimum": 0, **more}


def _nth(description: str) -> Schema:
    return {"description": description, "minimum": 1}


# By the property's name, with its schema's name in front where it means something else than in other schemas.
PROPERTIES: Mapping[str, Schema] = {
    "id": _text("A UUIDv7. Ids that are made later are greater."),
    "created_at": _text("The time at which it was created."),
    "updated_at": _text("The time of its last change."),
    "finished_at": _text("The time of its end. Null before."),
    "source": _text("The source that is searched, as in `GET /v1/sources`.", enum=SOURCES),
    "provider": _text("The provider whose service it is.", enum=PROVIDERS),
    "mode": _text("`live`, or `test`: in the sandbox, at no cost."),
    "lookup_id": _text("The lookup that it belongs to."),
    "result_type": _text("The `type` of the results.", enum=RESULT_TYPES),
    "Account.kind": _text("`prepaid`: what is `available` bounds what may be held. `metered`: nothing but caps does."),
    "Attempt.number": _nth("1 is the first attempt of the delivery."),
    "Attempt.started_at": _text("The time at which it began."),
    "Attempt.duration_ms": _count("Its duration in milliseconds."),
    "Call.page": _count("The number of the page that was asked for; 0 is the lookup's first."),
    "Call.state": _text(
        "`armed`: it is about to be sent, or under way. `answered`: the provider answered. `failed`: it failed, and cost "
        "nothing. `unknown`: the provider may have billed it."
    ),
    "Call.error": _text("Why the call brought no results. Null if it did, or has not ended."),
    "Credential.label": _text("Distinguishes several keys to one provider.", maxLength=100),
    "Credential.is_default": _text("Whether searches that name no credential use this one."),
    "Credential.state_changed_at": _text("The time at which `state` changed last."),
    "Delivery.endpoint_id": _text("The endpoint that it is sent to."),
    "Delivery.type": _text("The type of the event.", enum=list(EventType.values)),
    "Delivery.attempt_count": _count("The number of attempts so far."),
    "Endpoint.url": _text("The address that events are sent to.", format="uri"),
    "Endpoint.description": _text("Your own note.", maxLength=200),
    "Endpoint.enabled": _text("Whether events are sent to it."),
    "Entry.kind": _text(
        "`grant`, `expiry` and `adjustment` change `posted`; `hold`, `release` and `charge` change `held`, and a charge `posted` "
        "too; `unknown` changes the part of `held` that may have been billed."
    ),
    "Image.format": _text("The format of the file that was sent.", enum=list(FORMATS)),
    "Image.width": _nth("In pixels, upright."),
    "Image.height": _nth("In pixels, upright."),
    "Image.bytes": _count("The size of the file that was sent, in bytes.", maximum=settings.PICTURE_MAX_BYTES),
    "Image.sha256": _text("The SHA-256 of the file that was sent.", pattern="^[0-9a-f]{64}$"),
    "Lookup.result_count": _count("The number of results so far."),
    "Lookup.duplicates": _count("The number of items that the provider returned more than once. They are one result."),
    "Lookup.total": _count("How many results the provider says that it has. Null if it does not say so."),
    "Lookup.credits": _text("What the lookup holds and costs, in the provider's own credits."),
    "Lookup.error": _text("Why the lookup failed. Null unless it did."),
    "Result.type": _text(
        "The kind of thing that was found; the property of this name describes it.", enum=RESULT_TYPES
    ),
    "Result.rank": _nth("The place among the lookup's results, the best first."),
    "Result.sequence": _nth("The place among the search's results in the order of their arrival."),
    "Result.observed_at": _text("The time at which the provider answered."),
    "Result.external_id": _text("The provider's own id of what was found.", maxLength=200),
    "Result.title": _text("A name for people; empty if there is none.", maxLength=500),
    "Result.url": _text("The address of what was found. Null if the provider gives none.", maxLength=2000),
    "Result.image_url": _text("The address of its picture at the provider. Null if there is none.", maxLength=2000),
    "Result.media_expires_at": _text("The time from which `image_url` no longer works. Null if it is not known."),
    "Result.score": _text("How alike it is, in the provider's own numbers. Do not compare those of two sources."),
    "Search.status": _text(
        "`queued` until a lookup has started, `running` until all have ended. Then `succeeded` if all succeeded, `partial` if "
        "some did; otherwise `failed` if one failed, else `canceled` if one was canceled, else `expired`."
    ),
    "Search.version": _nth("Grows with each change, but not with a change of a position. It is the `ETag`."),
    "Search.crop": _text("The part of the picture that is searched with. Null for the whole picture."),
    "Statement.opening": _text("The balances at the beginning of the month."),
}
# These have the columns of another.
SAME_AS: Mapping[str, str] = {"StoredImage": "Image", "EndpointWithSecret": "Endpoint", "FinishedLookup": "Lookup"}
# By the parameter's name, where no serializer describes it.
PARAMETERS: Mapping[str, str] = {
    "created_after": "Only what was created after this instant, and not at it: RFC 3339 with an offset; send a + as %2B.",
    "created_before": "Only what was created before this instant: RFC 3339 with an offset; send a + as %2B.",
}
# Every operation takes it.
REQUEST_ID: Schema = {
    "in": "header",
    "name": "X-Request-Id",
    "schema": {"type": "string"},
    "description": "Your own name for the request: 8 to 100 letters, digits, dots, dashes and underscores. The answer and our "
    "logs have it. One of another form is replaced by ours.",
}
# What an `{id}` in a path is, by the path's beginning.
NAMED: Mapping[str, str] = {
    "/v1/api-keys": "API key",
    "/v1/credentials": "provider key",
    "/v1/images": "picture",
    "/v1/searches": "search",
    "/v1/statements": "statement",
    "/v1/webhook-deliveries": "delivery",
    "/v1/webhook-endpoints": "endpoint",
}


def complete(document: Mapping[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for owner, schema in schemas.items():
        if owner.endswith("List"):
            schema["description"] = "A page of a list."
            schema["properties"]["data"] |= {"maxItems": MOST_ROWS, "description": "The rows of the page."}
        for name, described in schema.get("properties", {}).items():
            add(described, own(owner, name))
    document["components"]["parameters"] = {"RequestId": REQUEST_ID}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            parameters = operation.setdefault("parameters", [])
            for parameter in parameters:
                if text := PARAMETERS.get(parameter["name"]) or of_the_path(path, parameter["name"]):
                    parameter.setdefault("description", text)
            parameters.sort(key=lambda parameter: bool(parameter["in"] != "path"))
            parameters.append({"$ref": "#/components/parameters/RequestId"})


def of_the_path(path: str, name: str) -> str:
    named = NAMED.get(path.partition("/{id}")[0])
    return f"The id of the {named}." if name == "id" and named else ""


def own(owner: str, name: str) -> Schema:
    owner = SAME_AS.get(owner, owner)
    return PROPERTIES.get(f"{owner}.{name}") or PROPERTIES.get(name) or {}


def add(described: Schema, more: Schema) -> None:
    """Adds what the schema of a property lacks. What a serializer says goes first."""
    for word, value in more.items():
        if word != "enum" or ("const" not in described and described.get("type") == "string"):
            described.setdefault(word, value)
