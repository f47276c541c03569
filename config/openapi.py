"""The OpenAPI 3.1 document: generated from the views, with one place for what is true of all of them.

Tags are drf-spectacular's own (`settings`). Its webhooks are not used: they can describe neither the headers of a delivery nor
that it needs no API key (`openapi_webhooks`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from typing import Any, cast

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import Direction
from rest_framework import serializers

from accounts.web.strict_fields import StrictDict, StrictList
from accounts.web.tenant_view import TenantView
from config import (
    openapi_enums,
    openapi_idempotency,
    openapi_links,
    openapi_problems,
    openapi_properties,
    openapi_tags,
    openapi_webhooks,
)
from config.problem_codes import PROBLEMS
from providers import json_schema, registry
from providers.contract import Adapter

ABOUT = """
One API for searching social platforms by picture.

Send `Authorization: Bearer sl_live_…` or `sl_test_…`. The searches of a test key run in a sandbox and cost nothing. Live and test
keys do not see each other's searches. Times are RFC 3339 in UTC, credits are decimal texts, ids are UUIDs. An unknown field or
query parameter is refused by its name.

## Sending a request twice

A POST with an `Idempotency-Key` is done once. It may be sent again, for example after a time-out, and is then answered by what
the first one did, with `Idempotent-Replayed: true`. A key is 1 to 255 printable ASCII characters of your choice, such as a UUID,
and is kept for at least 24 hours. The same key with another body or path is 422; while the first request is still being handled,
409 with `Retry-After`. A request that was refused or failed is not remembered, so it may be sent again with its key, as it was
or mended. Quotes and other methods ignore the header: sent twice, they have the effect of one.

## Limits

Some limits are rates: of requests, of provider keys stored, verified or reconciled, of test events and of redeliveries.
Beyond a rate, or with too many waiting lookups, the answer is 429, and `Retry-After` has the seconds to wait. `RateLimit` and
`RateLimit-Policy` are on every answer to a valid key; they have what is left of the rate of requests, or of the rate that
refused it. Other limits are numbers: of provider keys, API keys, endpoints, pictures and searches. Beyond a number the answer
is 409. Either names the limit. Pictures, results and searches are erased when their retention is over. A JSON body has at
most 64 KB without the base64 text of a picture; a larger one is 413.

## Errors

Every error is `application/problem+json` (RFC 9457). A provider's failure is never a status here: it is the lookup's `error`. The
exceptions are a provider's dictionary and its own count of a key, which belong to no lookup: their failure is 503.

| status | codes, each with its page |
|---|---|
{errors}
"""
HEADERS = {
    401: ("WWW-Authenticate", "`Bearer`"),
    409: ("Retry-After", "Seconds, for `idempotency_key_in_use`."),
    429: ("Retry-After", "Seconds."),
    503: ("Retry-After", "Seconds."),
}
HEADERS_OF_ALL = {
    "X-Request-Id": "Names this request in our logs: the one that was sent, or one of ours.",
    "RateLimit": "A rate by name, its units left (`r`), and the seconds (`t`) over which they can be spread without a refusal "
    'or, where it refused, until it accepts: `"requests";r=998;t=10`. Left out where the key is refused.',
    "RateLimit-Policy": 'That rate: as many units (`q`) in as many seconds (`w`): `"requests";q=1000;w=10`.',
}


@cache
def document() -> dict[str, Any]:
    """Returns the document, which only a new version of the code can change."""
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


@dataclass(frozen=True, kw_only=True)
class Served:
    """The document as it is sent: its text, the same compressed, and a tag that changes with it."""

    text: bytes
    compressed: bytes
    etag: str


@cache
def served() -> Served:
    text = json.dumps(document(), separators=(",", ":"), ensure_ascii=False).encode()
    return Served(text=text, compressed=gzip.compress(text, mtime=0), etag=f'W/"{sha256(text).hexdigest()[:32]}"')


def rows_of_errors() -> Iterator[str]:
    for status in sorted({kind.status for kind in PROBLEMS.values()}):
        links = (f"[`{code}`](/docs/errors#{code})" for code, kind in PROBLEMS.items() if kind.status == status)
        yield f"| {status} | {' '.join(links)} |"


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Adds to the generated document what drf-spectacular does not know: the errors, all values of texts, the webhooks."""
    result["info"]["description"] = ABOUT.format(errors="\n".join(rows_of_errors())).strip()
    schemas = result["components"]["schemas"]
    schemas |= openapi_webhooks.schemas(schemas)
    result["webhooks"] = openapi_webhooks.webhooks()
    openapi_properties.complete(result)
    openapi_enums.complete(result)
    for _path, method, operation in openapi_links.every(result["paths"]):
        if method == "patch":
            # drf-spectacular takes a body without a required field for one that may be left out.
            operation["requestBody"]["required"] = True
    openapi_links.add(result["paths"])
    return result


class Schema(AutoSchema):
    """Adds to each operation the headers of every answer and the errors that it can have."""

    def get_description(self, path: str = "", method: str = "") -> str:
        """Returns nothing instead of the view's docstring, which is for maintainers. `extend_schema` gives descriptions."""
        return ""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """Adds the scope that the view asks for, to its description and as `x-scope`."""
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        scope = cast(TenantView, self.view).scopes[self.method]
        needed = f"The key needs the scope `{scope.value}`." if scope else "Any valid key may ask this."
        described = {"description": "\n\n".join(filter(None, (operation.get("description"), needed)))}
        return operation | described | ({"x-scope": scope.value} if scope else {})

    def get_override_parameters(self) -> list[Any]:
        """Returns the header fields of idempotency keys and tags, beside which `extend_schema` puts an operation's own."""
        shared = (openapi_idempotency, openapi_tags)
        return [each for module in shared for each in module.parameters(self.view, self.method)]

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        bodies |= self.unchanged()
        own = [*getattr(self.view, "error_codes", {}).get(self.method, ())]
        own += openapi_idempotency.CODES if openapi_idempotency.heeded(self.view, self.method) else ()
        errors = openapi_problems.codes(self.method, self.path, own)
        bodies |= {str(status): self.error_response(status, codes) for status, codes in errors.items()}
        for status, body in bodies.items():
            if "$ref" not in body:
                body["description"] = body["description"] or f"{HTTPStatus(int(status)).phrase}."
                body.setdefault("headers", {}).update(self.headers_of_all())
        return bodies

    def unchanged(self) -> dict[str, Any]:
        """Returns the 304 of an object with a tag."""
        if not openapi_tags.is_tagged(self.view, self.method):
            return {}
        headers = self._get_response_headers_for_code("304")
        return {"304": {**openapi_tags.UNCHANGED, "headers": headers}}

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}List"

    def error_response(self, status: int, codes: list[str]) -> dict[str, Any]:
        headers = self.headers_of_all()
        if status in HEADERS:
            name, description = HEADERS[status]
            headers[name] = text_header(description)
        schema = self.resolve_serializer(openapi_problems.ProblemSerializer, "response").ref
        kind = openapi_problems.kind(self.method, self.path, cast(TenantView, self.view).query_class().fields)
        body = openapi_problems.answer(schema, codes, kind) | {"headers": headers}
        return self.component(openapi_problems.name(status, codes, kind), ResolvedComponent.RESPONSE, body)

    def headers_of_all(self) -> dict[str, Any]:
        return {
            name: self.component(name.removeprefix("X-").replace("-", ""), ResolvedComponent.HEADER, text_header(text))
            for name, text in HEADERS_OF_ALL.items()
        }

    def component(self, name: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
        component = ResolvedComponent(name=name, type=kind, schema=schema, object=name)
        self.registry.register_on_missing(component)
        reference: dict[str, Any] = component.ref
        return reference


def text_header(description: str) -> dict[str, Any]:
    return {"schema": {"type": "string"}, "description": description}


class StrictExtension(OpenApiSerializerExtension):
    """Describes strict serializers: they take no other properties, and lists and objects of bounded length."""

    target_class = "accounts.web.strict_fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        mapped: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        for name, field in self.target.fields.items():
            schema = mapped["properties"][name]
            if isinstance(field, StrictDict):
                schema["maxProperties"] = field.max_length
            if isinstance(field, StrictList) and field.unique_items:
                schema["uniqueItems"] = True
            not_empty(field, schema)
        mapped |= self.target.number_of_fields
        example = getattr(self.target, "example", None)
        return mapped | {"additionalProperties": False} | ({"examples": [example]} if example else {})


def not_empty(field: Any, schema: dict[str, Any]) -> None:
    """Adds to a text, and to the texts of a list, that they are not empty where they must not be."""
    if isinstance(field, serializers.ListField):
        not_empty(field.child, schema.get("items", {}))
    if isinstance(field, serializers.CharField) and not field.allow_blank and schema.get("type") == "string":
        schema.setdefault("minLength", 1)


class LookupExtension(OpenApiSerializerExtension):
    """Describes a lookup as one schema for each source, because every source has its own parameters."""

    target_class = "searches.api.request_serializers.LookupRequest"
    priority = 1

    def map_serializer(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        shared = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        kinds = {
            source: auto_schema.component(f"Lookup-{source}", ResolvedComponent.SCHEMA, lookup_schema(shared, adapter))
            for source, adapter in registry.ADAPTERS.items()
        }
        mapping = {source: kind["$ref"] for source, kind in kinds.items()}
        return {
            "oneOf": list(kinds.values()),
            "description": "A source with its own parameters.",
            "discriminator": {"propertyName": "source", "mapping": mapping},
        }


def lookup_schema(shared: Mapping[str, Any], adapter: Adapter) -> dict[str, Any]:
    fields = {
        **shared["properties"],
        "credential": shared["properties"]["credential"] | {"minLength": 1},
        "source": {"const": adapter.source, "description": adapter.title},
        # Their dialect is the one of OpenAPI 3.1 itself.
        "parameters": {word: value for word, value in json_schema.of(adapter.parameters).items() if word != "$schema"},
        "limit": shared["properties"]["limit"] | {"maximum": adapter.max_results, "default": adapter.default_limit},
        "offset": shared["properties"]["offset"] | ({} if adapter.paged else {"maximum": 0}),
    }
    if adapter.max_results is None:
        del fields["limit"]
    return {**shared, "description": f"{adapter.title}.", "properties": fields, "additionalProperties": False}
