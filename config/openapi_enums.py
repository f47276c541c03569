"""Gives each enumeration of the OpenAPI document the form of which generators of clients make one type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accounts.models import Delivery, EventType, Mode, Scope
from accounts.webhooks.serializers import WANTED
from billing.models import Entry
from providers import registry
from searches.models import Lookup, Repeat, Status
from searches.representations import WAITING_ON

Schema = dict[str, Any]

FORMATS = ("avif", "bmp", "gif", "heic", "jpeg", "png", "webp")
SOURCES, PROVIDERS = sorted(registry.ADAPTERS), sorted(registry.PROVIDERS)
RESULT_TYPES = sorted({adapter.result_type for adapter in registry.ADAPTERS.values()})

# The enumerations of several places: the name of the schema that they share, its values, and what it is.
SHARED: Mapping[str, tuple[Sequence[str], str]] = {
    "ApiKeyState": (("valid", "expired", "revoked"), "The state of an API key. Only a `valid` one is taken."),
    "DeliveryState": (Delivery.State.values, "The state of a delivery. Only a `pending` one is tried again."),
    "EntryKind": (Entry.Kind.values, "What a line of the ledger does."),
    "EventType": (EventType.values, "The type of an event."),
    "ImageFormat": (FORMATS, "The format of a picture."),
    "LookupStatus": ((*Lookup.OPEN, *Lookup.ENDED), "The status of a lookup. The last four are final."),
    "Mode": (Mode.values, "`live`, or `test`: in the sandbox, at no cost."),
    "ProviderName": (PROVIDERS, "The name of a provider."),
    "Repeat": (Repeat.values, "Whether a lookup asks the provider (`miss`) or takes an equal one's answer."),
    "ResultType": (RESULT_TYPES, "The kind of a result."),
    "Scope": (Scope.values, "A part of the API that an API key may use."),
    "SearchStatus": (Status.values, "The status of a search. The last five are final."),
    "SourceName": (SOURCES, "The name of a source, as in `GET /v1/sources`."),
    "WaitingOn": (WAITING_ON, "The reason why a lookup waits."),
    "WantedEventType": (WANTED, "The type of an event that an endpoint can choose. It gets every `ping`."),
}


def complete(document: Mapping[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    names = {tuple(values): name for name, (values, _) in SHARED.items()}
    for node in list(nodes([schemas, document["paths"]])):
        if isinstance(node.get("enum"), list):
            apart_from_null(node)
    for node in list(nodes([schemas, document["paths"]])):
        if isinstance(node.get("enum"), list) and (name := names.get(tuple(node["enum"]))):
            refer(node, name)
    for name, (values, meaning) in SHARED.items():
        schemas[name] = {"type": "string", "enum": list(values), "description": meaning}


def apart_from_null(node: Schema) -> None:
    """Puts the null of an enumeration beside it."""
    if None in node["enum"]:
        values = [value for value in node.pop("enum") if value is not None]
        type = next(each for each in node.pop("type") if each != "null")
        node["oneOf"] = [{"type": type, "enum": values}, {"type": "null"}]


def refer(node: Schema, name: str) -> None:
    """Leaves a reference in the place of an enumeration, beside its description and its default."""
    for word in ("enum", "type", "minLength"):
        node.pop(word, None)
    node["$ref"] = f"#/components/schemas/{name}"


def nodes(node: Any) -> Iterator[Schema]:
    """Yields every object of a tree, the outer ones first."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(inner)
