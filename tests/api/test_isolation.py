"""Every route that exists, asked by a stranger with Alice's ids, by a key of the other mode, without each scope, without a key.

Whatever is Alice's is not there for anybody else: a stranger is answered as about an id that nobody has, and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import Model
from rest_framework import serializers
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Endpoint, Mode, Scope, Tenant
from accounts.web.tenant_view import TenantView
from providers.keyring import credentials
from searches.models import Search
from tests.api import scope_table
from tests.api.examples import lookup, order
from tests.api.routes import (
    DICTIONARY,
    NOBODYS,
    OPEN,
    OPERATIONS,
    OWN,
    OWNERS,
    ROUTES,
    VIEWS,
    WITH_ID,
    Operation,
    belongings,
    path_to,
)
from tests.api.test_openapi import document, resolved

# Rows of these belong to no mode: a test key sees them. It changes no provider key.
OF_BOTH_MODES = ("/v1/images", "/v1/credentials")
# Lists of what belongs to nobody.
NOBODYS_LISTS = ("/v1/sources", DICTIONARY)
# An id of Alice's for each query parameter that names one.
IN_QUERIES: dict[str, Callable[[Search], Any]] = {
    "lookup": lambda search: search.lookups.all()[0].pk,
    "endpoint": lambda search: Endpoint.objects.for_tenant(search.tenant).get().pk,
}
# The fields of bodies that name rows. `bodies_with` sends each of them.
IN_BODIES = {"image.id", "lookups[].credential"}
# Headers that differ from one answer to the next.
OF_ONE_ANSWER = ("X-Request-Id", "RateLimit")


def client(tenant: Tenant, mode: Mode = Mode.LIVE, **rights: Any) -> APIClient:
    _, secret = keys.issue(tenant, mode, **rights)
    return APIClient(headers={"Authorization": f"Bearer {secret}"})


def answer(response: Any) -> tuple[int, dict[str, str], str]:
    """Returns an answer without what names the one request."""
    headers = {name: value for name, value in response.items() if name not in OF_ONE_ANSWER}
    return response.status_code, headers, response.content.decode().replace(response["X-Request-Id"], "")


def ways_to_a_tenant() -> dict[type[Model], str]:
    """Returns for each table with rows of tenants the columns that lead from a row to its tenant."""
    apps_of_ours = [apps.get_app_config(name) for name in ("accounts", "providers", "billing", "searches")]
    ours = [model for app in apps_of_ours for model in app.get_models()]
    found: dict[Any, str] = {Tenant: "pk"}
    for _ in ours:
        for model in ours:
            for field in model._meta.concrete_fields:
                if model not in found and field.related_model in found:
                    way = found[field.related_model]
                    found[model] = field.name if way == "pk" else f"{field.name}__{way}"
    return found


WAYS = ways_to_a_tenant()


def rows_of(tenant: Tenant) -> str:
    """Returns all that the tenant has, as text, but not when its keys were used."""
    found = {
        model._meta.label: [
            {name: value for name, value in row.items() if name != "last_used_at"}
            for row in model._base_manager.filter(**{way: tenant.pk}).order_by("pk").values()
        ]
        for model, way in WAYS.items()
    }
    return json.dumps(found, default=lambda value: bytes(value).hex() if isinstance(value, memoryview) else str(value))


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_every_route_is_a_tenants() -> None:
    assert [route for route, view in VIEWS.items() if view is None] == [OPEN]
    assert all(issubclass(view, TenantView) for view in VIEWS.values() if view is not None)
    assert len(OPERATIONS) > 40
    unknown = {route.partition("/<id:id>")[0] for route in ROUTES if "<" in route and route != DICTIONARY} - set(OWN)
    assert not unknown, f"tell tests/api/routes.py, in OWN, an id of Alice's for each of {unknown}"


def test_the_walk_sees_every_table_that_a_tenant_has_rows_in() -> None:
    assert {model._meta.label for model in WAYS} >= {
        "accounts.ApiKey",
        "billing.Entry",
        "searches.Result",
        "searches.Call",
    }


def test_a_stranger_is_answered_as_about_what_nobody_has(api: APIClient, charlie: Tenant, alice: Tenant) -> None:
    search, stranger = belongings(api), client(charlie)
    before = rows_of(alice)
    for operation in WITH_ID:
        hers = answer(operation.ask(stranger, path_to(operation.route, search)))
        nobodys = answer(operation.ask(stranger, path_to(operation.route, search, NOBODYS)))
        assert (hers[0], hers) == (404, nobodys), str(operation)
        assert rows_of(alice) == before, str(operation)


def test_a_stranger_is_shown_no_row_in_a_list(api: APIClient, charlie: Tenant, alice: Tenant) -> None:
    belongings(api)
    stranger, test_key = client(charlie), client(alice, Mode.TEST)
    for route, view in VIEWS.items():
        if "<" in route or not hasattr(view, "keys") or route in NOBODYS_LISTS:
            continue
        hers = {json.dumps(row) for row in api.get(route).json()["data"]}
        assert hers, f"{route}: let belongings() in tests/api/routes.py make a row of it"
        assert not hers & {json.dumps(row) for row in stranger.get(route).json()["data"]}, route
        if route not in OF_BOTH_MODES:
            live = {row for row in hers if json.loads(row).get("mode") != "test"}
            assert not live & {json.dumps(row) for row in test_key.get(route).json()["data"]}, route
    assert "Alice" not in stranger.get("/v1/tenant").content.decode()


def queries_with_ids() -> Iterator[tuple[Operation, str]]:
    for operation in OPERATIONS:
        for name, field in operation.view.query_class().fields.items():
            if operation.method == "GET" and isinstance(field, serializers.UUIDField):
                yield operation, name


def test_a_filter_by_another_tenants_id_is_one_by_nobodys(api: APIClient, bob: Tenant) -> None:
    search, stranger = belongings(api), client(bob)
    credentials.store(bob, "modash", "bobs-modash-key")
    own = belongings(stranger)
    for operation, name in queries_with_ids():
        assert name in IN_QUERIES, f"{operation}: tell test_isolation.IN_QUERIES an id of Alice's for {name}"
        path = path_to(operation.route, own)
        hers, nobodys = (stranger.get(path, {name: str(id)}) for id in (IN_QUERIES[name](search), NOBODYS))
        assert answer(hers) == answer(nobodys), str(operation)
        assert hers.status_code == 200
        assert stranger.get(path, {name: str(IN_QUERIES[name](own))}).json()["data"], str(operation)


def fields_with_ids(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    schema = resolved(schema)
    if schema.get("format") == "uuid" or path.endswith("credential"):
        yield path
    for inner in (*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from fields_with_ids(inner, path)
    for name, inner in schema.get("properties", {}).items():
        yield from fields_with_ids(inner, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from fields_with_ids(schema["items"], f"{path}[]")


def bodies_with(search: Search) -> Iterator[tuple[str, Any, Any]]:
    """Yields bodies that name Alice's rows, each with the same body about what nobody has, and the field."""
    credential = search.lookups.all()[0].credential
    assert credential is not None
    yield "image.id", order(image={"id": str(search.image_id)}), order(image={"id": str(NOBODYS)})
    for hers, nobodys in ((str(credential.pk), str(NOBODYS)), ("alices", "nobodys")):
        yield (
            "lookups[0].credential",
            order(lookups=[lookup(credential=hers)]),
            order(lookups=[lookup(credential=nobodys)]),
        )


def test_a_body_that_names_another_tenants_row_names_nobodys(api: APIClient, bob: Tenant, alice: Tenant) -> None:
    search, stranger = belongings(api), client(bob)
    credentials.store(bob, "modash", "bobs-modash-key")
    credentials.create(alice, provider="modash", secret="another-of-alices", label="alices")
    before = rows_of(alice)
    for path in ("/v1/searches", "/v1/searches/quote"):
        for field, hers, nobodys in bodies_with(search):
            asked = [stranger.post(path, body, format="json") for body in (hers, nobodys)]
            assert answer(asked[0]) == answer(asked[1]), field
            assert asked[0].status_code == 400
            assert [error["field"] for error in asked[0].json()["errors"]] == [field]
    assert rows_of(alice) == before


def test_no_other_field_of_a_body_names_a_row() -> None:
    bodies = [
        content["schema"]
        for operations in document()["paths"].values()
        for operation in operations.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    found = {field.removeprefix("request.") for schema in bodies for field in fields_with_ids(schema)}
    assert found - {"id"} == IN_BODIES, "send the new field in test_isolation.bodies_with"


def test_a_key_of_the_other_mode_is_answered_as_about_what_nobody_has(api: APIClient, alice: Tenant) -> None:
    search, test_key = belongings(api), client(alice, Mode.TEST)
    before = rows_of(alice)
    for operation in WITH_ID:
        if not operation.route.startswith(OF_BOTH_MODES):
            hers = answer(operation.ask(test_key, path_to(operation.route, search)))
            nobodys = answer(operation.ask(test_key, path_to(operation.route, search, NOBODYS)))
            assert (hers[0], hers) == (404, nobodys), str(operation)
            assert rows_of(alice) == before, str(operation)


def lacks_scope(response: Any) -> bool:
    return bool(response.status_code == 403 and response.json()["code"] == "scope_missing")


def test_each_single_scope_opens_its_routes_and_no_others(api: APIClient, alice: Tenant) -> None:
    search = belongings(api)
    for scope in Scope:
        some = client(alice, scopes=[scope.value])
        for operation in OPERATIONS:
            response = operation.ask(some, path_to(operation.route, search, NOBODYS))
            assert lacks_scope(response) == (operation.scope not in (None, scope.value)), f"{operation} with {scope}"


def test_without_its_scope_nothing_happens_and_with_it_alone_it_does(api: APIClient, alice: Tenant) -> None:
    search = belongings(api)
    some = {scope.value: client(alice, scopes=[scope.value]) for scope in Scope}
    others = {
        scope.value: client(alice, scopes=[each for each in Scope.values if each != scope.value]) for scope in Scope
    }
    before = rows_of(alice)
    for operation in OPERATIONS:
        path, scope = path_to(operation.route, search), operation.scope or Scope.SEARCHES_READ.value
        if operation.scope:
            response = operation.ask(others[scope], path)
            assert lacks_scope(response), str(operation)
            assert f"`{scope}`" in response.json()["detail"]
            assert rows_of(alice) == before, str(operation)
        with undone():
            response = operation.ask(some[scope], path)
        expected = OWNERS.get(str(operation), OWNERS.get(operation.route, 0))
        assert response.status_code == expected or (not expected and response.status_code < 300), (
            f"{operation}: {response.status_code} {response.content[:300]!r}; a body goes to BODIES in tests/api/routes.py"
        )


def test_without_a_key_nothing_answers(db: None) -> None:
    for operation in OPERATIONS:
        path = path_to(operation.route, Search(), NOBODYS)
        response = operation.ask(APIClient(), path)
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated"), str(operation)


def test_the_table_of_scopes_is_that_of_the_code() -> None:
    assert scope_table.PAGE.read_text() == scope_table.table(), "run python -m tests.api.scope_table"
