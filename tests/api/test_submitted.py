"""A create answers from the rows that it wrote, and answers what `GET` would answer then, also under load."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Tenant
from providers.keyring import credentials
from providers.models import Credential
from searches.calls import outcomes
from searches.models import Lane
from tests.api.examples import create, lookup
from tests.conftest import ClientOf
from tests.racing import at_once
from tests.searches.repeating import answer, claim_next

CROP = {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.75}
OF_EACH_SOURCE: list[dict[str, Any]] = [
    {
        "source": "tiktok-creators",
        "limit": 120,
        "offset": 40,
        "parameters": {"followers_count": {"min": 13_000}, "engagement_rate": {"min": 0.04}, "locations": [148838]},
    },
    {"source": "tiktok-products", "parameters": {"product_name": "mug ☕", "region": "US"}},
    {"source": "public-videos", "parameters": {"platform": "TIKTOK", "similarity": 0.85}},
    {"source": "private-videos"},
]


@pytest.fixture
def api(api: APIClient, alice: Tenant) -> APIClient:
    """Returns a client whose tenant has a key to every provider and the default `max_age`."""
    for provider in ("keyapi", "memories"):
        credentials.store(alice, provider, f"alices-{provider}-key")
    Tenant.objects.filter(pk=alice.pk).update(max_age=3600)
    return api


def compared(client: APIClient, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the answers of a create and of a `GET` right after it. Estimated starts are compared only by being there."""
    made = create(client, **changes)
    assert made.status_code == 202, made.content
    read = client.get(made["Location"])
    assert made["ETag"] == read["ETag"]
    bodies = made.json(), read.json()
    for body in bodies:
        for each in body["lookups"]:
            each["estimated_start_at"] = each["estimated_start_at"] is not None
    return bodies


def test_it_is_what_is_read_right_after_it(api: APIClient) -> None:
    metadata = {"campaign": "spring", "a": "b"}
    made, read = compared(api, lookups=OF_EACH_SOURCE, crop=CROP, metadata=metadata, priority=3)
    assert made == read
    assert [each["credits"]["held"] for each in made["lookups"]] == ["3", "1", "1", "1"]
    assert [each["position"] for each in made["lookups"]] == [1, 1, 1, 2]


def test_so_is_a_test_keys(sandbox: APIClient) -> None:
    made, read = compared(sandbox, lookups=OF_EACH_SOURCE)
    assert made == read


def test_so_is_one_that_waits_for_a_credential_and_a_follower(api: APIClient) -> None:
    Credential.objects.filter(provider="keyapi").update(state=Credential.State.INVALID)
    made, read = compared(api, lookups=[lookup(), lookup(), {"source": "tiktok-products"}])
    assert made == read
    assert [each["waiting_on"] for each in made["lookups"]] == ["rate", "rate", "credential"]
    assert [each["credits"]["held"] for each in made["lookups"]] == ["0.5", "0", "1"]


def test_so_is_one_of_which_a_part_was_answered_before(api: APIClient) -> None:
    create(api)
    outcomes.answered(claim_next(), answer(3))
    made, read = compared(api, lookups=[lookup(), lookup(limit=7)])
    assert made == read
    assert (made["status"], [each["status"] for each in made["lookups"]]) == ("running", ["succeeded", "queued"])


def test_so_is_one_in_a_lane_that_was_stopped(api: APIClient) -> None:
    create(api)
    Lane.objects.update(paused=True)
    made, read = compared(api, lookups=[lookup(limit=7)])
    assert made == read
    assert made["lookups"][0]["waiting_on"] == "paused"


def test_a_start_after_others_is_the_one_that_is_read(api: APIClient) -> None:
    create(api)
    Lane.objects.update(claimed_at=timezone.now())
    made = create(api, lookups=[lookup(limit=7)])
    assert made.json() == api.get(made["Location"]).json()


def test_it_costs_the_same_for_one_lookup_as_for_twenty(api: APIClient) -> None:
    image = {"id": create(api).json()["image"]["id"]}
    with CaptureQueriesContext(connection) as few:
        create(api, image=image, lookups=[lookup(limit=1)])
    with CaptureQueriesContext(connection) as many:
        create(api, image=image, lookups=[lookup(limit=30 + number) for number in range(20)])
    # Two of them begin and end what stands here for a transaction.
    assert len(few) == len(many) <= 16 + 2


@pytest.mark.django_db(transaction=True)
def test_those_who_ask_at_once_are_each_told_of_their_own(alice: Tenant, bob: Tenant, client_of: ClientOf) -> None:
    for tenant in (alice, bob):
        credentials.store(tenant, "modash", f"a-key-of-{tenant.name}")
    clients = [client_of(tenant) for tenant in (alice, bob)]

    def ask(number: int) -> None:
        for limit in range(1, 9):
            metadata = {"asker": f"{number}, {limit}"}
            made = create(
                clients[number % 2], lookups=[lookup(limit=limit)] * (1 + number % 3), metadata=metadata
            ).json()
            read = clients[number % 2].get(f"/v1/searches/{made['id']}").json()
            assert made["metadata"] == read["metadata"] == metadata
            assert [each["id"] for each in made["lookups"]] == [each["id"] for each in read["lookups"]]
            assert {each["credits"]["held"] for each in made["lookups"] + read["lookups"]} == {f"{limit * 0.025:g}"}

    at_once([partial(ask, number) for number in range(8)])
