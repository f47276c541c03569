"""The OpenAPI document: generated without a warning, whole, and true of what the API answers."""

from __future__ import annotations

import gzip
import json
import re
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from rest_framework.test import APIClient

from accounts.models import Tenant
from billing import ledger
from billing.models import Price, TenantCap
from config import openapi, openapi_enums
from searches.models import Call, Lookup, Search
from tests.api.examples import add_results, create, create_form, lookup, made, order
from tests.api.quoting import quote
from tests.api.routes import ROUTES


@cache
def document() -> dict[str, Any]:
    """Returns the document as it is served."""
    loaded: dict[str, Any] = json.loads(json.dumps(openapi.document()))
    return loaded


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    whole = DRAFT202012.create_resource(document())
    return Draft202012Validator(
        rooted(schema),
        registry=Registry().with_resource("urn:document", whole),
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def rooted(node: Any) -> Any:
    """References lead into the document."""
    if isinstance(node, dict):
        return {key: f"urn:document{value}" if key == "$ref" else rooted(value) for key, value in node.items()}
    return [rooted(inner) for inner in node] if isinstance(node, list) else node


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def described(path: str, method: str, response: Any) -> None:
    """The answer is one that the document tells of: its status, its type, its headers and its body."""
    operation = document()["paths"][path][method]
    told = resolved(operation["responses"][str(response.status_code)])
    unknown_headers = set(response.headers) - STANDARD_HEADERS - set(told["headers"])
    assert not unknown_headers
    if response.content:
        schema = told["content"][response["Content-Type"].split(";")[0]]["schema"]
        is_text = response["Content-Type"].startswith(("text/csv", "application/x-ndjson"))
        body = response.content.decode() if is_text else response.json()
        validator(schema).validate(body)
        no_unknown_members(schema, body)


def no_unknown_members(schema: dict[str, Any], body: Any) -> None:
    """Whatever is answered is told of, at every depth that is."""
    schema = resolved(schema)
    for inner in schema.get("allOf", []):
        no_unknown_members(inner, body)
    for inner in schema.get("oneOf", []):
        if validator(inner).is_valid(body):
            no_unknown_members(inner, body)
    if isinstance(body, dict) and "properties" in schema:
        assert set(body) <= set(schema["properties"])
        for name, value in body.items():
            no_unknown_members(schema["properties"][name], value)
    if isinstance(body, list) and "items" in schema:
        for value in body:
            no_unknown_members(schema["items"], value)


STANDARD_HEADERS = {
    "Cache-Control",
    "Content-Type",
    "Content-Length",
    "Vary",
    "Allow",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Content-Security-Policy",
    "Permissions-Policy",
}


def test_it_is_made_without_a_warning_and_valid() -> None:
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", "/dev/null")


def test_it_is_served_to_anybody(client: Client) -> None:
    response = client.get("/v1/openapi.json")
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json() == document()
    assert document()["openapi"].startswith("3.1")


def test_it_is_compressed_and_kept_by_caches(client: Client) -> None:
    path = "/v1/openapi.json"
    plain = client.get(path, headers={"Accept-Encoding": "br, gzip;q=0"})
    packed = client.get(path, headers={"Accept-Encoding": "gzip, deflate, br"})
    assert "Content-Encoding" not in plain
    assert (packed["Content-Encoding"], packed["Vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 5
    assert plain["Cache-Control"] == "public, no-cache"
    known = client.get(path, headers={"If-None-Match": plain["ETag"]})
    assert (known.status_code, known.content, known["ETag"]) == (304, b"", packed["ETag"])
    assert known["Cache-Control"] != "no-store"


def test_every_route_is_in_it() -> None:
    routes = {re.sub(r"<\w+:(\w+)>", r"{\1}", route) for route in ROUTES} - {"/v1/openapi.json"}
    assert set(document()["paths"]) == routes


def test_every_operation_says_who_may_and_how_it_fails() -> None:
    for operations in document()["paths"].values():
        for operation in operations.values():
            assert operation["security"] == [{"ApiKey": []}]
            assert operation["summary"]
            assert {"400", "401", "403", "406", "500"} <= set(operation["responses"])


def test_a_public_validator_finds_it_valid() -> None:
    """The validator has the meta schema of OpenAPI 3.1, resolves every reference, and tries the defaults."""
    OpenAPIV31SpecValidator(document()).validate()


def test_every_schema_is_one() -> None:
    """The dialect of OpenAPI 3.1 is JSON Schema 2020-12. Parameters, headers and bodies have schemas of their own."""
    schemas = [*document()["components"]["schemas"].values()]
    schemas += [node["schema"] for node in openapi_enums.nodes(document()) if isinstance(node.get("schema"), dict)]
    assert len(schemas) > 200
    for schema in schemas:
        Draft202012Validator.check_schema(schema)


def test_its_examples_are_true() -> None:
    bodies = [
        content
        for operations in document()["paths"].values()
        for operation in operations.values()
        for body in [operation.get("requestBody", {}), *map(resolved, operation["responses"].values())]
        for content in body.get("content", {}).values()
    ]
    examples = [(body["schema"], shown["value"]) for body in bodies for shown in body.get("examples", {}).values()]
    assert len(examples) > 20
    for schema, value in examples:
        validator(schema).validate(value)
        no_unknown_members(schema, value)


@pytest.fixture
def search(api: APIClient) -> Search:
    """Makes a search with results, calls and an error, so that every schema is used."""
    search = made(api, lookups=[lookup(), lookup(limit=40)], metadata={"a": "b"})
    add_results(search)
    only = search.lookups.all()[0]
    at = search.created_at
    Call.objects.create(lookup=only, page=0, armed_at=at, leased_until=at, error_code="refused", error_detail="No.")
    Lookup.objects.filter(pk=only.pk).update(queue_state="none")
    Lookup.objects.filter(pk=only.pk).update(status="failed", error_code="refused", error_detail="No.")
    return search


READS = [
    "/v1/searches",
    "/v1/searches/{id}",
    "/v1/searches/{id}/results",
    "/v1/searches/{id}/calls",
    "/v1/images/{id}",
    "/v1/sources",
    "/v1/credits",
    "/v1/credits/entries",
    "/v1/statements",
    "/v1/usage",
]


def test_what_is_read_is_as_described(api: APIClient, search: Search) -> None:
    for path in READS:
        address = path.replace("{id}", str(search.image_id if "images" in path else search.pk))
        described(path, "get", api.get(address))
        described(path, "get", api.get(address, {"nonsense": 1}))
        described(path, "get", api.get(address, headers={"Accept": "image/png"}))
        described(path, "get", APIClient().get(address))


def test_other_forms_are_as_described(api: APIClient, search: Search) -> None:
    path = "/v1/searches/{id}/results"
    for accept in ("text/csv", "application/x-ndjson"):
        response = api.get(path.replace("{id}", str(search.pk)), {"limit": 1}, headers={"Accept": accept})
        described(path, "get", response)
    described(path, "get", api.get(path.replace("{id}", str(search.pk)), {"include": "raw"}))


def test_usage_is_as_described_however_it_is_grouped(api: APIClient, search: Search) -> None:
    ledger.charge(search.lookups.all()[1].reference, Decimal("0.25"), key="call:1")
    for groups in ("day", "source", "api_key", "metadata.a", "day,source,api_key,metadata.none"):
        response = api.get("/v1/usage", {"group_by": groups})
        assert len(response.json()["data"]) == 1
        described("/v1/usage", "get", response)
    for path in ("/v1/usage", "/v1/credits/entries"):
        for accept in ("text/csv", "application/x-ndjson"):
            described(path, "get", api.get(path, {"limit": 1}, headers={"Accept": accept}))


def test_what_is_made_is_as_described(api: APIClient, stranger: APIClient) -> None:
    path = "/v1/searches"
    described(path, "post", api.post(path, order(), format="json", headers={"Prefer": "wait=0"}))
    described(path, "post", create_form(api, {"lookups": [lookup()]}))
    described(path, "post", create(api, lookups=[]))
    described(path, "post", create(stranger))
    described(path, "post", api.post(path, "{", content_type="application/json"))
    described(path, "post", api.post(path, "{", content_type="text/plain"))
    for less in ({"modash": "0"}, {"modash": "0.499999"}):
        described(path, "post", create(api, max_credits=less))
    body = {"image": order()["image"]}
    described("/v1/images", "post", api.post("/v1/images", body, format="json"))


def test_a_quote_is_as_described(api: APIClient, alice: Tenant, stranger: APIClient, sandbox: APIClient) -> None:
    path = "/v1/searches/quote"
    TenantCap.objects.create(tenant=alice, provider="modash", amount=Decimal(1))
    two = [lookup(), lookup(limit=30)]
    none_left = {"max_credits": {"modash": "0"}}
    orders: list[dict[str, Any]] = [{}, {"lookups": two}, {"lookups": two, "max_age": 60}, none_left, {"lookups": []}]
    for changes in orders:
        for client in (api, sandbox, stranger):
            described(path, "post", quote(client, **changes))
    Price.objects.all().delete()
    described(path, "post", quote(api))
    described(path, "post", api.post(path, "{", content_type="text/plain"))


def test_what_is_ended_is_as_described(api: APIClient, search: Search) -> None:
    described("/v1/searches/{id}/cancel", "post", api.post(f"/v1/searches/{search.pk}/cancel"))
    described("/v1/images/{id}", "delete", api.delete(f"/v1/images/{search.image_id}"))
    known = api.get(f"/v1/searches/{search.pk}", headers={"If-None-Match": "*"})
    described("/v1/searches/{id}", "get", known)


def test_what_the_document_refuses_the_api_refuses(api: APIClient) -> None:
    schema = document()["paths"]["/v1/searches"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    wrong: list[dict[str, Any]] = [
        {"image": None},
        {"lookups": []},
        {"lookups": [lookup()] * 21},
        {"lookups": [lookup(limit=1501)]},
        {"lookups": [lookup(parameters={"gender": "F"})]},
        {"priority": 11},
        {"crop": {}},
    ]
    assert validator(schema).is_valid(order())
    for changes in wrong:
        assert not validator(schema).is_valid(order(**changes))
        assert create(api, **changes).status_code == 400
