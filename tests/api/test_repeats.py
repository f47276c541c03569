"""Repeats as tenants see them: `max_age` in what they send, `repeat` and `repeat_of` in what they are told."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Tenant
from providers.keyring import credentials
from searches.calls import outcomes
from searches.coalescing import followers
from searches.models import Lookup
from tests.api.examples import create, lookup
from tests.conftest import ClientOf
from tests.searches.repeating import answer, claim_next

pytestmark = pytest.mark.django_db


@pytest.fixture
def asking(api: APIClient, alice: Tenant) -> APIClient:
    """Returns a client with a live key whose tenant has the default `max_age`."""
    Tenant.objects.filter(pk=alice.pk).update(max_age=Tenant._meta.get_field("max_age").get_default())
    return api


def sent(client: APIClient, **changes: Any) -> dict[str, Any]:
    response = create(client, **changes)
    assert response.status_code == 202, response.content
    body: dict[str, Any] = response.json()
    return body


def lookup_of(client: APIClient, search: dict[str, Any]) -> dict[str, Any]:
    """Returns the only lookup of the search as it is now."""
    body: dict[str, Any] = client.get(f"/v1/searches/{search['id']}").json()
    only: dict[str, Any] = body["lookups"][0]
    return only | {"search": body["status"]}


FREE = {"held": "0", "charged": "0", "unknown": "0"}


def test_a_hit_is_finished_when_it_is_accepted(asking: APIClient) -> None:
    first = sent(asking)
    outcomes.answered(claim_next(), answer(3))
    second = sent(asking)
    hit = second["lookups"][0]
    assert (second["status"], hit["status"], hit["repeat"]) == ("succeeded", "succeeded", "hit")
    assert hit["repeat_of"] == first["lookups"][0]["id"]
    assert (hit["calls"], hit["credits"]) == (0, FREE | {"final": True})
    assert second["finished_at"] is not None
    results = [asking.get(f"/v1/searches/{search['id']}/results").json()["data"] for search in (first, second)]
    assert [[r["external_id"] for r in each] for each in results] == [["0", "1", "2"]] * 2
    assert results[0][0]["observed_at"] == results[1][0]["observed_at"]
    assert asking.get(f"/v1/searches/{second['id']}/calls").json()["data"] == []


def test_a_follower_shows_what_its_leader_waits_for_and_pays_nothing(asking: APIClient) -> None:
    first, second = sent(asking), sent(asking)
    follower = lookup_of(asking, second)
    assert (follower["status"], follower["repeat"], follower["position"]) == ("queued", "coalesced", 1)
    assert (follower["repeat_of"], follower["waiting_on"]) == (first["lookups"][0]["id"], "rate")
    assert follower["estimated_start_at"] is not None
    claimed = claim_next()
    follower = lookup_of(asking, second)
    assert (follower["position"], follower["waiting_on"]) == (None, "turn")
    assert follower["estimated_start_at"] is not None
    outcomes.answered(claimed, answer(2))
    followers.resolve_all()
    follower = lookup_of(asking, second)
    assert (follower["search"], follower["calls"], follower["credits"]) == ("succeeded", 0, FREE | {"final": True})


def test_a_max_age_of_0_asks_anew(asking: APIClient) -> None:
    searches = [sent(asking, max_age=0) for _ in range(2)]
    assert [search["lookups"][0]["repeat"] for search in searches] == ["miss", "miss"]
    assert searches[1]["lookups"][0]["repeat_of"] is None


def test_a_tenant_for_whom_it_is_off_may_ask_for_it(asking: APIClient, alice: Tenant) -> None:
    Tenant.objects.filter(pk=alice.pk).update(max_age=0)
    said = [sent(asking, **order)["lookups"][0]["repeat"] for order in ({}, {}, {"max_age": 60})]
    assert said == ["miss", "miss", "coalesced"]


def test_a_follower_of_a_canceled_search_is_shown_as_asking_itself(asking: APIClient) -> None:
    first, second = sent(asking), sent(asking)
    etag = asking.get(f"/v1/searches/{second['id']}")["ETag"]
    asking.post(f"/v1/searches/{first['id']}/cancel")
    followers.resolve_all()
    now = lookup_of(asking, second)
    assert (now["repeat"], now["repeat_of"], now["position"]) == ("miss", None, 1)
    assert now["credits"]["held"] != "0"
    assert asking.get(f"/v1/searches/{second['id']}")["ETag"] != etag


def test_a_stranger_with_the_same_picture_learns_nothing(asking: APIClient, bob: Tenant, client_of: ClientOf) -> None:
    sent(asking)
    outcomes.answered(claim_next(), answer(3))
    credentials.store(bob, "modash", "alices-modash-key")
    Tenant.objects.filter(pk=bob.pk).update(max_age=3600)
    assert sent(client_of(bob), max_age=3600)["lookups"][0]["repeat"] == "miss"


def test_each_of_an_orders_lookups_is_looked_at_by_itself(asking: APIClient) -> None:
    sent(asking, lookups=[lookup(limit=10)])
    search = sent(asking, lookups=[lookup(limit=10), lookup(limit=11), lookup(limit=11)])
    assert [each["repeat"] for each in search["lookups"]] == ["coalesced", "miss", "coalesced"]
    assert search["lookups"][2]["repeat_of"] == search["lookups"][1]["id"]
    assert Lookup.objects.filter(has_followers=True).count() == 2
