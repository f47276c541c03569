"""Every route of the API, from the configuration of URLs, and an object of Alice's for each.

A route that is added is found here the day it is added. It is used as it is, unless it names another kind of row in its path
(`OWN`), needs a body (`BODIES`), or answers its owner something else than success (`OWNERS`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKey, Delivery, Endpoint, Mode
from accounts.web.tenant_view import TenantView, answered
from accounts.webhooks import endpoints, redelivery
from billing.models import Account, Statement
from searches.models import Search
from tests.api.examples import add_results, made, order
from tests.billing.months import end_month

NOBODYS = UUID("019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001")
OPEN = "/v1/openapi.json"
DICTIONARY = "/v1/providers/<str:provider>/dictionaries/<str:name>"
SPARE = "spare, and may do nothing"


@dataclass(frozen=True)
class Operation:
    """A method of a route, with the view that answers it."""

    method: str
    route: str
    view: type[TenantView]

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    @property
    def scope(self) -> str | None:
        scope = self.view.scopes[self.method]
        return scope.value if scope else None

    @property
    def body(self) -> Any:
        return BODIES.get(f"{self.method} {self.route}") or BODIES.get(self.route)

    def ask(self, client: APIClient, path: str) -> Any:
        if self.method == "GET":
            return client.get(path)
        return getattr(client, self.method.lower())(path, self.body, format="json")


def patterns(found: list[Any] | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every path under /v1 as it is declared, with its view."""
    for pattern in get_resolver().url_patterns if found is None else found:
        path = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and path.startswith("v1/"):
            yield f"/{path}", getattr(pattern.callback, "cls", None)


VIEWS = dict(patterns())
ROUTES = sorted(VIEWS)
OPERATIONS = [
    Operation(method, route, view)
    for route, view in sorted(VIEWS.items())
    if view is not None
    for method in sorted(answered(cast(type[TenantView], view)))
]
WITH_ID = [operation for operation in OPERATIONS if "<id:id>" in operation.route]
# The id in a path, by the beginning of the path.
OWN: dict[str, Callable[[Search], Any]] = {
    "/v1/api-keys": lambda search: ApiKey.objects.get(tenant=search.tenant, label=SPARE).pk,
    "/v1/credentials": lambda search: search.lookups.all()[0].credential_id,
    "/v1/images": lambda search: search.image_id,
    "/v1/searches": lambda search: search.pk,
    "/v1/statements": lambda search: Statement.objects.get(account__tenant=search.tenant).pk,
    "/v1/webhook-deliveries": lambda search: Delivery.objects.for_tenant(search.tenant).get().pk,
    "/v1/webhook-endpoints": lambda search: Endpoint.objects.for_tenant(search.tenant).get().pk,
}
# The bodies that are required, by the route, with the method in front where the route has several.
BODIES: dict[str, Any] = {
    "POST /v1/searches": order(),
    "/v1/searches/quote": order(),
    "POST /v1/images": {"image": order()["image"]},
    "POST /v1/credentials": {"provider": "keyapi", "secret": "alices-keyapi-key"},
    "PATCH /v1/credentials/<id:id>": {"label": "changed"},
    "POST /v1/webhook-endpoints": {"url": "https://example.com/others"},
    "PATCH /v1/webhook-endpoints/<id:id>": {"description": "changed"},
    "/v1/webhook-endpoints/<id:id>/redeliver": {"from": "2026-11-20T00:00:00Z"},
    "PATCH /v1/api-keys/<id:id>": {"label": "changed"},
}
# What an owner is answered where that is no success: nobody listens at the provider's address, no lookup has failed, a search
# needs the picture.
OWNERS = {
    "/v1/credentials/<id:id>/reconcile": 503,
    "/v1/searches/<id:id>/retry": 409,
    "DELETE /v1/images/<id:id>": 409,
    DICTIONARY: 503,
}


def path_to(route: str, search: Search, id: UUID | None = None) -> str:
    route = route.replace("<str:provider>", "modash").replace("<str:name>", "locations")
    if "<id:id>" not in route:
        return route
    beginning = route.partition("/<id:id>")[0]
    assert beginning in OWN, f"{route}: tell tests/api/routes.py, in OWN, an id of Alice's for {beginning}/<id:id>."
    return route.replace("<id:id>", str(id or OWN[beginning](search)))


def belongings(api: APIClient) -> Search:
    """A search with results, a closed month, an API key to spare, and an endpoint that was sent a ping."""
    search = made(api)
    add_results(search)
    end_month(Account.objects.get(tenant=search.tenant))
    endpoint, _ = endpoints.create(search.tenant, Mode.LIVE, url="https://example.com/hooks")
    redelivery.ping(endpoint)
    keys.issue(search.tenant, Mode.LIVE, SPARE, scopes=[])
    return search
