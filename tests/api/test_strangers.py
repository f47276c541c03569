"""Charlie is sent to every route that exists, with Alice's ids: whatever is hers is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from accounts.models import Delivery, Endpoint, Mode
from accounts.webhooks import endpoints, redelivery
from billing.models import Account, Statement
from searches.models import Search
from tests.api.examples import add_results, made
from tests.billing.months import end_month

NOBODYS = UUID("019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001")
METHODS = ("get", "post", "put", "patch", "delete")


def routes(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[str]:
    """Every path under /v1 as it is declared."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and path.startswith("v1/"):
            yield f"/{path}"


ROUTES = sorted(routes())
WITH_ID = [route for route in ROUTES if "<id:id>" in route]
# The only route whose rows belong to nobody.
PUBLIC = "/v1/providers/<str:provider>/dictionaries/<str:name>"
OWN_LISTS = (
    *("/v1/searches", "/v1/credits", "/v1/credits/entries", "/v1/statements", "/v1/credentials"),
    *("/v1/webhook-endpoints", "/v1/webhook-deliveries"),
)
# The bodies that actions require.
BODIES = {"/v1/webhook-endpoints/<id:id>/redeliver": {"from": "2026-11-20T00:00:00Z"}}
LISTS = [route for route in ROUTES if route in OWN_LISTS]
# What an owner is answered where it is no 200: nobody listens at the address of the provider that this one asks.
OWNERS = {"/v1/credentials/<id:id>/reconcile": 503, "/v1/searches/<id:id>/retry": 409}


def path_to(route: str, search: Search, id: UUID | None = None) -> str:
    return route.replace("<id:id>", str(id or own_id(route, search)))


def own_id(route: str, search: Search) -> UUID | None:
    if "api-keys" in route:
        return search.api_key_id
    if "webhook-endpoints" in route:
        return Endpoint.objects.for_tenant(search.tenant).get().pk
    if "webhook-deliveries" in route:
        return Delivery.objects.for_tenant(search.tenant).get().pk
    if "statements" in route:
        return Statement.objects.get(account__tenant=search.tenant).pk
    if "credentials" in route:
        return search.lookups.all()[0].credential_id
    return search.image_id if "images" in route else search.pk


def belongings(api: APIClient) -> Search:
    """A search with results, a closed month, and an endpoint that was sent a ping."""
    search = made(api)
    add_results(search)
    end_month(Account.objects.get(tenant=search.tenant))
    endpoint, _ = endpoints.create(search.tenant, Mode.LIVE, url="https://example.com/hooks")
    redelivery.ping(endpoint)
    return search


def test_the_routes_are_known() -> None:
    assert len(WITH_ID) == 18
    assert len(LISTS) == len(OWN_LISTS)
    assert [route for route in ROUTES if "<" in route and route not in WITH_ID] == [PUBLIC]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("route", WITH_ID)
def test_a_stranger_sees_what_is_not_there(api: APIClient, stranger: APIClient, route: str, method: str) -> None:
    search = belongings(api)
    hers = getattr(stranger, method)(path_to(route, search))
    nobodys = getattr(stranger, method)(path_to(route, search, NOBODYS))
    for response in (hers, nobodys):
        assert response.status_code in (404, 405)
    ours, theirs = hers.json(), nobodys.json()
    assert ours.pop("request_id") != theirs.pop("request_id")
    assert ours == theirs


@pytest.mark.parametrize("route", WITH_ID)
def test_the_owner_is_there(api: APIClient, route: str) -> None:
    search = belongings(api)
    response = api.options(path_to(route, search))
    method = "get" if "GET" in response["Allow"] else "post"
    response = getattr(api, method)(path_to(route, search), BODIES.get(route), format="json")
    assert response.status_code == OWNERS.get(route, 200)


@pytest.mark.parametrize("route", LISTS)
def test_a_strangers_lists_are_empty(api: APIClient, stranger: APIClient, route: str) -> None:
    belongings(api)
    assert api.get(route).json()["data"]
    assert stranger.get(route).json()["data"] == []


def test_a_stranger_changes_nothing(api: APIClient, stranger: APIClient) -> None:
    search = belongings(api)
    before = api.get(f"/v1/searches/{search.pk}").json()
    stranger.post(f"/v1/searches/{search.pk}/cancel")
    stranger.delete(f"/v1/images/{search.image_id}")
    stranger.delete(f"/v1/credentials/{search.lookups.all()[0].credential_id}")
    stranger.delete(path_to("/v1/webhook-endpoints/<id:id>", search))
    after = api.get(f"/v1/searches/{search.pk}").json()
    before["lookups"][0].pop("estimated_start_at")
    after["lookups"][0].pop("estimated_start_at")
    assert after == before
    assert Endpoint.objects.get().enabled


@pytest.mark.parametrize("route", [route for route in ROUTES if "openapi" not in route])
def test_without_a_key_nothing_answers(db: None, route: str) -> None:
    response = APIClient().get(route.replace("<id:id>", str(NOBODYS)))
    assert response.status_code == 401
