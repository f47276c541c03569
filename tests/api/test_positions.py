"""The position that a lookup is told is the number of claims until its own: claimed here, and compared."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Tenant
from providers import policies
from providers.keyring import credentials
from searches.lanes import queue
from tests.api.examples import lookup, made
from tests.conftest import ClientOf

HOUR = timedelta(hours=1)


def told(clients: list[APIClient]) -> list[str]:
    """All waiting lookups by the position that their owners are told."""
    rows = [
        (shown["position"], shown["id"])
        for client in clients
        for search in client.get("/v1/searches", {"limit": 100}).json()["data"]
        for shown in search["lookups"]
        if shown["status"] == "queued"
    ]
    assert [position for position, _ in sorted(rows)] == list(range(1, len(rows) + 1))
    return [id for _, id in sorted(rows)]


def claim() -> str:
    claimed = queue.claim("modash", policies.of("modash"), lease=HOUR)
    assert claimed is not None
    return str(claimed.lookup.pk)


def test_a_tenants_own_go_by_priority_and_age(api: APIClient) -> None:
    for priority in (0, 5, -5, 5):
        made(api, priority=priority, lookups=[lookup(), lookup()])
    expected = told([api])
    assert [claim() for _ in range(8)] == expected


def test_tenants_take_turns_by_weight(api: APIClient, bob: Tenant, charlie: Tenant, client_of: ClientOf) -> None:
    clients = [api]
    for tenant, weight, count in ((bob, 3, 7), (charlie, 1, 2)):
        Tenant.objects.filter(pk=tenant.pk).update(weight=weight)
        credentials.store(tenant, "modash", f"key of {tenant}".replace(" ", "-"))
        clients.append(client_of(tenant))
        made(clients[-1], lookups=[lookup()] * count)
    made(api, lookups=[lookup()] * 5)
    for _ in range(14):
        expected = told(clients)
        assert claim() == expected[0]


def test_the_neighbours_whole_line_is_foretold(api: APIClient, bob: Tenant, client_of: ClientOf) -> None:
    credentials.store(bob, "modash", "bobs-key")
    neighbour = client_of(bob)
    made(neighbour, lookups=[lookup()] * 20)
    for _ in range(3):
        claim()
    made(api, lookups=[lookup()] * 4)
    expected = told([api, neighbour])
    assert [claim() for _ in range(21)] == expected


def test_a_suspended_neighbour_is_passed_over(api: APIClient, bob: Tenant, client_of: ClientOf) -> None:
    credentials.store(bob, "modash", "bobs-key")
    made(client_of(bob), lookups=[lookup()] * 5)
    Tenant.objects.filter(pk=bob.pk).update(suspended_at=timezone.now())
    made(api)
    assert len(told([api])) == 1


def test_who_waits_for_a_credential_has_no_position(api: APIClient) -> None:
    search = made(api)
    search.lookups.update(queue_state="blocked")
    [shown] = api.get(f"/v1/searches/{search.pk}").json()["lookups"]
    assert (shown["position"], shown["estimated_start_at"], shown["waiting_on"]) == (None, None, "credential")


def test_a_paused_provider_says_so(api: APIClient) -> None:
    search = made(api)
    policy = policies.of("modash")
    policy.paused = True
    policy.save()
    [shown] = api.get(f"/v1/searches/{search.pk}").json()["lookups"]
    assert (shown["position"], shown["waiting_on"]) == (None, "paused")
