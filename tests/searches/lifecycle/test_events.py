"""Events of searches: each end is announced once, in its transaction or not at all, in the words of the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts import clock
from accounts.models import Delivery, Endpoint, Event, Mode, Tenant
from accounts.webhooks import delivery, endpoints
from accounts.webhooks.delivery import Outcome
from billing import ledger
from billing.models import TenantCap
from providers.contract import Answer
from providers.failures import BadCredential, Exhausted, Faulty, Lost, Refused
from providers.keyring import states
from providers.models import Credential, Policy
from searches.calls import outcomes, settlement
from searches.coalescing import followers
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import cancellation, deadlines, erasure
from searches.models import Call, Lookup, Search
from tests.api.examples import made
from tests.conftest import ClientOf
from tests.racing import at_once
from tests.searches.lives import Submit, answer, claim_next
from tests.searches.repeating import asker

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(alice: Tenant) -> Endpoint:
    """Returns an endpoint for all types of events."""
    return endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks")[0]


def succeed(claimed: ClaimedLookup | None = None, results: int = 20) -> None:
    claimed = claimed or claim_next()
    claimed.call.sent_at = clock.now()
    outcomes.answered(claimed, answer(results, last=True))


def refuse() -> None:
    outcomes.failed(claim_next(), Policy.objects.get(), Refused("refused", "No."))


def lose(claimed: ClaimedLookup | None = None) -> None:
    claimed = claimed or claim_next()
    settlement.lost(claimed.call, claimed.lookup, Policy(on_unknown="fail"), Lost("outcome_unknown", "Lost."))


def expire() -> None:
    Lookup.objects.update(expires_at=clock.now())
    deadlines.expire()


def recorded(type: str = "") -> list[dict[str, Any]]:
    """Returns the recorded events in their order, of one type or of all."""
    bodies = [json.loads(event.body) for event in Event.objects.order_by("pk")]
    return [body for body in bodies if not type or body["type"] == type]


def types() -> list[str]:
    return [body["type"] for body in recorded()]


# A search's end


def by_success(search: Search) -> None:
    succeed()
    succeed()


def by_half(search: Search) -> None:
    succeed()
    refuse()


def by_failing(search: Search) -> None:
    refuse()
    cancellation.cancel(search)


def by_cancel(search: Search) -> None:
    cancellation.cancel(search)


def by_time(search: Search) -> None:
    expire()


ENDS = [
    (by_success, "search.succeeded"),
    (by_half, "search.partial"),
    (by_failing, "search.failed"),
    (by_cancel, "search.canceled"),
    (by_time, "search.expired"),
]


@pytest.mark.parametrize(("end", "type"), ENDS)
def test_each_end_is_announced_once_with_the_object_that_get_answers_then(
    submit: Submit, endpoint: Endpoint, alice: Tenant, client_of: ClientOf, end: Callable[[Search], None], type: str
) -> None:
    search = submit(2)
    assert types() == []
    end(search)
    assert sorted(types()) == ["lookup.finished", "lookup.finished", type]
    [body] = recorded(type)
    assert body["data"] == client_of(alice).get(f"/v1/searches/{search.pk}").json()
    assert all(lookup["credits"]["final"] for lookup in body["data"]["lookups"])
    assert {lookup["credits"]["held"] for lookup in body["data"]["lookups"]} == {"0"}
    cancellation.cancel(search)
    assert len(types()) == 3


def test_each_lookups_end_is_announced_with_its_credits(submit: Submit, endpoint: Endpoint) -> None:
    search = submit(2)
    succeed(results=4)
    assert types() == ["lookup.finished"]
    [first] = recorded()
    done = Lookup.objects.get(status="succeeded")
    assert (first["data"]["id"], first["data"]["search_id"]) == (str(done.pk), str(search.pk))
    assert (first["data"]["calls"], first["data"]["result_count"]) == (1, 4)
    assert first["data"]["credits"] == {"held": "0", "charged": "0.1", "unknown": "0", "final": True}
    refuse()
    assert recorded("lookup.finished")[1]["data"]["error"]["code"] == "refused"


def test_a_lookups_event_has_the_same_object_as_its_search(
    submit: Submit, endpoint: Endpoint, alice: Tenant, client_of: ClientOf
) -> None:
    search = submit()
    succeed()
    [shown] = client_of(alice).get(f"/v1/searches/{search.pk}").json()["lookups"]
    assert recorded("lookup.finished")[0]["data"] == shown | {"search_id": str(search.pk)}


def test_a_search_that_has_not_ended_is_not_announced(submit: Submit, endpoint: Endpoint) -> None:
    submit()
    outcomes.failed(claim_next(), Policy.objects.get(), Faulty("fault", "Later.", status=500))
    assert types() == []


# In its transaction, or not at all


def test_an_end_that_was_rolled_back_is_not_announced(submit: Submit, endpoint: Endpoint) -> None:
    search = submit()
    with transaction.atomic():
        cancellation.cancel(search)
        assert len(types()) == 2
        transaction.set_rollback(True)
    search.refresh_from_db()
    assert (search.status, types()) == ("queued", [])


@pytest.mark.django_db(transaction=True)
def test_an_end_that_two_transactions_reach_at_once_is_announced_once(submit: Submit, endpoint: Endpoint) -> None:
    search = submit(4)
    claims = [claim_next() for _ in range(3)]
    at_once([*(lambda claimed=claimed: succeed(claimed) for claimed in claims), lambda: cancellation.cancel(search)])
    search.refresh_from_db()
    ended = [type for type in types() if type.startswith("search.")]
    assert (ended, len(recorded("lookup.finished"))) == ([f"search.{search.status}"], 4)


# Endpoints


def test_a_test_keys_searches_are_announced_only_to_test_endpoints(
    submit: Submit, endpoint: Endpoint, alice: Tenant, client_of: ClientOf
) -> None:
    tested, _ = endpoints.create(alice, Mode.TEST, url="https://alice.example/test")
    cancellation.cancel(made(client_of(alice, Mode.TEST)))
    assert {delivery.endpoint for delivery in Delivery.objects.all()} == {tested}
    assert recorded("search.canceled")[0]["data"]["mode"] == "test"
    cancellation.cancel(submit())
    assert Delivery.objects.filter(endpoint=endpoint).count() == 2


def test_another_tenants_endpoint_gets_no_event(submit: Submit, charlie: Tenant) -> None:
    endpoints.create(charlie, Mode.LIVE, url="https://charlie.example/hooks")
    cancellation.cancel(submit())
    assert types() == []


def test_the_body_of_an_event_is_not_built_if_no_endpoint_wants_it(submit: Submit, endpoint: Endpoint) -> None:
    endpoints.change(endpoint, events=["credits.settled"])
    search = submit()
    with CaptureQueriesContext(connection) as captured:
        cancellation.cancel(search)
    queries = [query["sql"] for query in captured.captured_queries]
    assert len([query for query in queries if "accounts_endpoint" in query]) == 1
    assert not [query for query in queries if "searches_image" in query]


# Repeats


def test_a_search_that_is_answered_by_another_is_announced_at_its_submit(endpoint: Endpoint, alice: Tenant) -> None:
    mine = asker(alice)
    mine.ask()
    succeed()
    repeat = mine.ask()
    [body] = [body for body in recorded("search.succeeded") if body["data"]["id"] == str(repeat.pk)]
    [lookup] = body["data"]["lookups"]
    assert (lookup["repeat"], lookup["result_count"]) == ("hit", 20)
    assert lookup["credits"] == {"held": "0", "charged": "0", "unknown": "0", "final": True}
    assert len(recorded("lookup.finished")) == 2


def test_each_search_that_followed_another_has_its_event(endpoint: Endpoint, alice: Tenant) -> None:
    mine = asker(alice)
    searches = [mine.ask() for _ in range(3)]
    succeed()
    followers.resolve_all()
    assert {body["data"]["id"] for body in recorded("search.succeeded")} == {str(search.pk) for search in searches}
    assert len(recorded("search.succeeded")) == len(recorded("lookup.finished")) == 3


# Erased


def test_events_of_an_erased_search_are_erased_with_it(submit: Submit, endpoint: Endpoint) -> None:
    erased, kept = submit(), submit()
    succeed()
    cancellation.cancel(kept)
    for claimed in delivery.claim(most=1, most_slow=1):
        delivery.settle(claimed, Outcome(status=200), started_at=claimed.claimed_at, seconds=0.1)
    erasure.erase(erased)
    assert {body["data"].get("search_id", body["data"]["id"]) for body in recorded()} == {str(kept.pk)}
    assert types() == ["lookup.finished", "search.canceled"]


def test_an_erased_search_makes_no_later_event(submit: Submit, endpoint: Endpoint) -> None:
    search = submit(2)
    claimed = claim_next()
    erasure.erase(search)
    assert types() == []
    succeed(claimed)
    assert set(Lookup.objects.values_list("status", flat=True)) == {"canceled"}
    assert types() == []


# Credits


def test_the_cost_of_a_lost_answer_is_announced_once_it_is_known(submit: Submit, endpoint: Endpoint) -> None:
    submit()
    claimed = claim_next()
    lose(claimed)
    assert recorded("search.failed")[0]["data"]["lookups"][0]["credits"] == {
        "held": "0",
        "charged": "0",
        "unknown": "0.5",
        "final": False,
    }
    outcomes.answered(claimed, Answer(hits=(), billed_results=4, last=True, status=200))
    [settled] = recorded("credits.settled")
    assert settled["data"] == {
        "reference": claimed.lookup.reference,
        "provider": "modash",
        "charged": "0.1",
        "released": "0.4",
        "unknown": "0",
    }


def test_each_part_that_an_operator_settles_is_announced(submit: Submit, endpoint: Endpoint) -> None:
    submit()
    claimed = claim_next()
    lose(claimed)
    reference = claimed.lookup.reference
    ledger.settle(reference, amount=Decimal("0.2"), charged=Decimal(0))
    ledger.settle(reference, charged=Decimal("0.3"))
    parts = [(body["data"]["charged"], body["data"]["unknown"]) for body in recorded("credits.settled")]
    assert parts == [("0", "0.3"), ("0.3", "0")]
    with pytest.raises(ValueError, match="settled a moment ago"):
        ledger.settle(reference, charged=Decimal(0))
    assert len(recorded("credits.settled")) == 2


def test_a_lookup_that_reaches_a_share_of_a_cap_announces_it(submit: Submit, endpoint: Endpoint, alice: Tenant) -> None:
    TenantCap.objects.create(tenant=alice, provider="modash", amount=1)
    submit()
    succeed()
    [reached] = recorded("credits.threshold_reached")
    assert [reached["data"][name] for name in ("limit", "share", "used", "left")] == ["tenant_cap", 50, "0.5", "0.5"]


def test_a_late_answer_announces_the_share_that_it_reaches(submit: Submit, endpoint: Endpoint, alice: Tenant) -> None:
    TenantCap.objects.create(tenant=alice, provider="modash", amount=1)
    submit()
    claimed = claim_next()
    lose(claimed)
    assert recorded("credits.threshold_reached") == []
    outcomes.answered(claimed, Answer(hits=(), billed_results=20, last=True, status=200))
    assert types()[-2:] == ["credits.threshold_reached", "credits.settled"]


# Credentials


@pytest.mark.parametrize(
    ("failure", "type", "state"),
    [
        (BadCredential("bad_key", "No."), "credential.rejected", "invalid"),
        (Exhausted("no_credits", "No."), "credential.exhausted", "exhausted"),
    ],
)
def test_a_key_that_is_found_dead_is_announced_once(
    submit: Submit, endpoint: Endpoint, failure: BadCredential | Exhausted, type: str, state: str
) -> None:
    submit(2)
    claims = [claim_next(), claim_next()]
    for claimed in claims:
        outcomes.failed(claimed, Policy.objects.get(), failure)
    credential = Credential.objects.get()
    said = {"id": str(credential.pk), "provider": "modash", "label": "default", "state": state}
    assert [(body["type"], body["data"]) for body in recorded()] == [(type, said)]


def test_a_key_that_worked_is_not_announced(submit: Submit, endpoint: Endpoint) -> None:
    submit()
    states.mark(Credential.objects.get(), Credential.State.VERIFIED)
    assert types() == []


def test_a_call_that_was_never_sent_is_not_announced(submit: Submit, endpoint: Endpoint) -> None:
    submit()
    Call.objects.update(leased_until=clock.now() - timedelta(seconds=1))
    claimed = claim_next()
    settlement.unsent(claimed.call, claimed.lookup)
    assert types() == []
