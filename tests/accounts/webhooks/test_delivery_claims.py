"""A claim takes the deliveries that are due, a few at once to each endpoint, and loses none with a worker that dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from accounts import webhooks
from accounts.models import Attempt, Delivery, Endpoint, Event, EventType, Mode, Tenant
from accounts.webhooks import delivery, endpoints, redelivery
from accounts.webhooks.delivery import ClaimedDelivery, Outcome
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.patience import HANGS_AFTER_SECONDS
from tests.racing import at_once

MANY = 100


def endpoint_of(tenant: Tenant, *, events: int, slow: bool = False) -> Endpoint:
    endpoint, _ = endpoints.create(tenant, Mode.LIVE, url=f"https://{uuid4()}.example/")
    Endpoint.objects.filter(pk=endpoint.pk).update(slow=slow)
    for _ in range(events):
        redelivery.ping(endpoint)
    return endpoint


def claim(*, most: int = MANY, most_slow: int = MANY) -> list[ClaimedDelivery]:
    return delivery.claim(most=most, most_slow=most_slow)


def by_endpoint(batch: list[ClaimedDelivery]) -> Counter[Endpoint]:
    return Counter(claimed.delivery.endpoint for claimed in batch)


def settle(claimed: ClaimedDelivery, outcome: Outcome | None = None, *, seconds: float = 0.1) -> None:
    delivery.settle(claimed, outcome or Outcome(status=200), started_at=claimed.claimed_at, seconds=seconds)


def let_leases_pass() -> None:
    past = timezone.now() - timedelta(seconds=1)
    Delivery.objects.filter(leased_until__isnull=False).update(leased_until=past, next_attempt_at=past)


def test_what_is_due_is_taken_once_the_longest_due_first(alice: Tenant) -> None:
    endpoint_of(alice, events=3)
    ages = list(Delivery.objects.order_by("pk"))
    for number, each in enumerate(ages):
        Delivery.objects.filter(pk=each.pk).update(next_attempt_at=timezone.now() - timedelta(minutes=number))
    first, second = claim(most=2), claim(most=2)
    assert {claimed.delivery.pk for claimed in first} == {ages[1].pk, ages[2].pk}
    assert [claimed.delivery.pk for claimed in second] == [ages[0].pk]
    assert claim() == []


def test_what_is_not_due_yet_waits(alice: Tenant) -> None:
    endpoint_of(alice, events=1)
    Delivery.objects.update(next_attempt_at=timezone.now() + timedelta(minutes=1))
    assert claim() == []


def test_an_endpoint_gets_four_at_once_and_the_next_when_one_is_settled(alice: Tenant) -> None:
    endpoint_of(alice, events=10)
    taken = claim()
    assert len(taken) == delivery.AT_ONCE == 4
    assert claim() == []
    settle(taken[0])
    assert len(claim()) == 1


def test_a_slow_endpoint_gets_one_at_once_until_it_is_quick_again(alice: Tenant) -> None:
    endpoint_of(alice, events=10)
    for claimed in claim():
        settle(claimed, Outcome(cause="timed_out"), seconds=15)
    [claimed] = claim()
    assert claimed.delivery.endpoint.slow
    settle(claimed, seconds=delivery.SLOW_SECONDS / 2)
    assert len(claim()) == 4


def test_an_endpoint_that_fails_quickly_is_not_slow(alice: Tenant) -> None:
    endpoint_of(alice, events=10)
    for claimed in claim():
        settle(claimed, Outcome(cause="bad_status", status=500))
    assert len(claim()) == 4


def test_a_backlog_keeps_no_other_endpoint_waiting(alice: Tenant, bob: Tenant) -> None:
    old, new = endpoint_of(alice, events=10), endpoint_of(bob, events=1)
    assert by_endpoint(claim(most=2)) == {old: 1, new: 1}


def test_slow_endpoints_take_no_more_than_their_part_of_the_slots(alice: Tenant, bob: Tenant) -> None:
    slow = {endpoint_of(alice, events=2, slow=True) for _ in range(5)}
    quick = endpoint_of(bob, events=2)
    taken = by_endpoint(claim(most=6, most_slow=2))
    assert taken[quick] == 2
    assert sum(count for endpoint, count in taken.items() if endpoint in slow) == 2
    assert claim(most=6, most_slow=0) == []
    assert len(claim(most=6, most_slow=6)) == 3


def test_a_disabled_endpoint_and_one_that_asked_for_a_pause_get_nothing(alice: Tenant) -> None:
    disabled, quiet = endpoint_of(alice, events=1), endpoint_of(alice, events=1)
    endpoints.disable(disabled)
    Endpoint.objects.filter(pk=quiet.pk).update(quiet_until=timezone.now() + timedelta(minutes=1))
    assert claim() == []
    Endpoint.objects.filter(pk=quiet.pk).update(quiet_until=timezone.now())
    assert by_endpoint(claim()) == {quiet: 1}
    endpoints.enable(disabled)
    assert by_endpoint(claim()) == {disabled: 1}


def test_no_tenant_holds_all_of_the_slots_however_many_endpoints_it_has(
    alice: Tenant, bob: Tenant, settings: Settings
) -> None:
    settings.WEBHOOK_THREADS = 40
    quick = {endpoint_of(alice, events=5) for _ in range(4)}
    hanging = {endpoint_of(alice, events=5, slow=True) for _ in range(10)}
    taken = claim(most=40, most_slow=20)
    assert len(taken) == 10
    assert sum(claimed.delivery.endpoint in hanging for claimed in taken) <= 7
    assert quick & set(by_endpoint(taken))
    assert claim(most=30, most_slow=13) == []
    other = endpoint_of(bob, events=1, slow=True)
    assert by_endpoint(claim(most=30, most_slow=13)) == {other: 1}


def test_the_tenant_with_fewer_deliveries_under_way_is_served_first(alice: Tenant, bob: Tenant) -> None:
    for _ in range(4):
        endpoint_of(alice, events=20)
    assert len(claim(most=8)) == 8
    Delivery.objects.filter(leased_until=None).update(next_attempt_at=timezone.now() - timedelta(hours=1))
    [other] = [endpoint_of(bob, events=4)]
    assert by_endpoint(claim(most=3)) == {other: 3}


def test_a_suspended_tenants_deliveries_wait_until_it_is_not(alice: Tenant) -> None:
    endpoint_of(alice, events=1)
    Tenant.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    assert claim() == []
    Tenant.objects.filter(pk=alice.pk).update(suspended_at=None)
    assert len(claim()) == 1


def test_a_delivery_that_was_tried_very_often_stops_no_other(alice: Tenant) -> None:
    endpoint_of(alice, events=2)
    Delivery.objects.update(attempt_count=32_767)
    for claimed in claim():
        settle(claimed)
    assert set(Attempt.objects.values_list("number", flat=True)) == {32_768}


# Leases


def test_what_a_dead_worker_held_is_due_again_and_its_log_says_so(alice: Tenant) -> None:
    endpoint_of(alice, events=1)
    [dead] = claim()
    let_leases_pass()
    [again] = claim()
    assert (again.delivery.pk, again.delivery.event_id) == (dead.delivery.pk, dead.delivery.event_id)
    settle(again)
    log = Attempt.objects.order_by("number").values_list("number", "cause")
    assert list(log) == [(1, "interrupted"), (2, "")]


def test_a_failure_after_the_lease_leaves_the_delivery_to_its_next_claim(alice: Tenant) -> None:
    endpoint_of(alice, events=1)
    [late] = claim()
    let_leases_pass()
    [successor] = claim()
    settle(late, Outcome(cause="timed_out"))
    waiting = Delivery.objects.get()
    assert (waiting.state, waiting.leased_until) == ("pending", successor.delivery.leased_until)
    settle(successor)
    settled = Delivery.objects.get()
    assert (settled.state, settled.attempt_count) == ("delivered", 2)


def test_what_arrived_late_has_arrived(alice: Tenant) -> None:
    endpoint_of(alice, events=1)
    [late] = claim()
    let_leases_pass()
    [successor] = claim()
    settle(late)
    assert Delivery.objects.get().state == "delivered"
    settle(successor, Outcome(cause="bad_status", status=500))
    assert Delivery.objects.get().state == "delivered"
    assert list(Attempt.objects.values_list("cause", flat=True)) == ["", "bad_status"]


@pytest.mark.django_db(transaction=True)
def test_claimers_side_by_side_take_nothing_twice_and_no_endpoint_gets_more_than_its_share(
    alice: Tenant, bob: Tenant
) -> None:
    mine = {endpoint_of(tenant, events=10) for tenant in (alice, bob)}
    taken = [claimed for batch in at_once([claim] * 8) for claimed in batch]
    assert len({claimed.delivery.pk for claimed in taken}) == len(taken)
    assert by_endpoint(taken) == dict.fromkeys(mine, 4)


@pytest.mark.django_db(transaction=True)
def test_a_claim_counts_what_another_is_just_taking(alice: Tenant) -> None:
    endpoint_of(alice, events=10)
    with background() as start:
        with transaction.atomic():
            claim()
            other = start(claim)
            until_somebody_waits_for_a_lock()
        assert other.result(HANGS_AFTER_SECONDS) == []


@pytest.mark.django_db(transaction=True)
def test_a_claim_does_not_wait_for_a_locked_row(alice: Tenant) -> None:
    endpoint_of(alice, events=2)
    with transaction.atomic():
        held = Delivery.objects.select_for_update().order_by("next_attempt_at")[:1].get()
        [[taken]] = at_once([claim])
    assert taken.delivery.pk != held.pk


# Many


@pytest.fixture
def backlog(alice: Tenant) -> Callable[[int], Endpoint]:
    """Makes an endpoint with so many due deliveries."""

    def backlog(count: int) -> Endpoint:
        endpoint = endpoint_of(alice, events=0)
        type = EventType.PING
        events = [Event(tenant=alice, mode=Mode.LIVE, type=type, body="{}") for _ in range(count)]
        Event.objects.bulk_create(events)
        now = timezone.now()
        Delivery.objects.bulk_create(
            Delivery(tenant=alice, event=event, endpoint=endpoint, next_attempt_at=now) for event in events
        )
        return endpoint

    return backlog


def test_a_backlog_is_stepped_over_and_not_read(backlog: Callable[[int], Endpoint], bob: Tenant) -> None:
    hanging = backlog(5000)
    Delivery.objects.filter(pk__in=[claimed.delivery.pk for claimed in claim()]).update(tries=F("tries"))
    waiting = endpoint_of(bob, events=1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_delivery")
        now = timezone.now()
        values: dict[str, Any] = {**delivery._limits(), "most": 100, "most_slow": 50, "now": now, "until": now}
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) {delivery.CLAIM}", values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    read = [int(line.partition("rows=")[2].split(".")[0].split()[0]) for line in plan.splitlines() if "rows=" in line]
    assert max(read) < 50, plan
    assert Delivery.objects.filter(endpoint=waiting, attempt_count=1).exists()
    assert Delivery.objects.filter(endpoint=hanging, attempt_count=1).count() == 4


def at_host(tenant: Tenant, *, events: int, paths: int, slow: bool = False) -> None:
    for _ in range(paths):
        endpoint, _ = endpoints.create(tenant, Mode.LIVE, url=f"https://victim.example/{uuid4()}")
        Endpoint.objects.filter(pk=endpoint.pk).update(slow=slow)
        for _ in range(events):
            redelivery.ping(endpoint)


def test_a_host_gets_few_at_once_from_all_tenants(
    alice: Tenant, bob: Tenant, charlie: Tenant, settings: Settings
) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 6
    for tenant in (alice, bob, charlie):
        at_host(tenant, events=4, paths=3)
    endpoint_of(alice, events=2)
    taken = Counter((e.delivery.endpoint.target, e.delivery.tenant_id) for e in claim())
    victim = "victim.example"
    assert [taken.pop((victim, tenant.pk)) for tenant in (alice, bob, charlie)] == [2, 2, 2]
    assert sum(taken.values()) == 2, "what goes elsewhere goes on"
    assert claim() == []


def test_a_tenant_has_half_of_the_deliveries_to_one_host(alice: Tenant, bob: Tenant, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 6
    at_host(alice, events=4, paths=3)
    first = claim()
    assert len(first) == 3
    at_host(bob, events=4, paths=1)
    assert {claimed.delivery.tenant_id for claimed in claim()} == {bob.pk}
    settle(first[0])
    assert len(claim()) == 1


def test_endpoints_that_hang_keep_nothing_from_others_at_their_host(alice: Tenant, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 8
    at_host(alice, events=4, paths=3, slow=True)
    assert [claimed.delivery.endpoint.slow for claimed in claim()] == [True, True]
    at_host(alice, events=4, paths=3)
    assert [claimed.delivery.endpoint.slow for claimed in claim()] == [False] * 4


def test_a_test_event_is_tried_three_times_and_every_other_to_the_end_of_the_schedule(alice: Tenant) -> None:
    endpoint = endpoint_of(alice, events=1)
    webhooks.record(alice.pk, Mode.LIVE, EventType.SEARCH_FAILED, {"id": 7})
    Endpoint.objects.filter(pk=endpoint.pk).update(slow=False)
    for _ in range(3):
        for claimed in claim():
            settle(claimed, Outcome(cause="bad_status", status=500))
        Delivery.objects.filter(state="pending").update(next_attempt_at=timezone.now())
    states = dict(Delivery.objects.values_list("event__type", "state"))
    assert states == {EventType.PING: "failed", EventType.SEARCH_FAILED: "pending"}
