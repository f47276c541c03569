"""The state of an endpoint after its deliveries: slow or quick, paused, or disabled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import Attempt, Delivery, Endpoint, Mode, Tenant
from accounts.webhooks import delivery, endpoints, redelivery
from accounts.webhooks.delivery import ClaimedDelivery, Outcome

URL = "https://alice.example/hooks"
REFUSED = Outcome(cause="bad_status", status=500)


@pytest.fixture
def endpoint(alice: Tenant) -> Endpoint:
    return endpoints.create(alice, Mode.LIVE, url=URL)[0]


def taken(endpoint: Endpoint) -> ClaimedDelivery:
    redelivery.ping(endpoint)
    [claimed] = delivery.claim(most=1, most_slow=1)
    return claimed


def settle(claimed: ClaimedDelivery, outcome: Outcome | None = None, *, seconds: float = 0.1) -> None:
    delivery.settle(claimed, outcome or Outcome(status=200), started_at=claimed.claimed_at, seconds=seconds)


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def failing(endpoint: Endpoint, *, since: datetime, last: datetime) -> None:
    Endpoint.objects.filter(pk=endpoint.pk).update(failing_since=since, last_failed_at=last)


def test_what_a_former_address_did_is_not_held_against_the_new_one(endpoint: Endpoint) -> None:
    late = taken(endpoint)
    endpoints.change(endpoint, url="https://alice.example/new")
    Endpoint.objects.update(slow=False)
    settle(late, Outcome(cause="bad_status", status=410, asked=600), seconds=14)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.failing_since, endpoint.quiet_until, endpoint.slow) == (True, None, None, False)
    assert Delivery.objects.get().state == "pending"


def test_what_a_former_address_received_says_nothing_of_the_new_one(endpoint: Endpoint) -> None:
    late = taken(endpoint)
    endpoints.change(endpoint, url="https://alice.example/new")
    settle(late)
    endpoint.refresh_from_db()
    assert endpoint.slow
    assert Delivery.objects.get().state == "delivered"


@pytest.mark.parametrize("cause", ["internal_error", "secret_unreadable", "dns_unavailable"])
def test_what_fails_for_our_own_reasons_is_not_held_against_it(endpoint: Endpoint, cause: str) -> None:
    settle(taken(endpoint), Outcome(cause=cause))
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None
    failing(endpoint, since=days_ago(6), last=days_ago(1))
    settle(taken(endpoint), Outcome(cause=cause), seconds=14)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.slow) == (True, True)


def test_a_fresh_failure_after_days_without_any_begins_the_five_days_anew(endpoint: Endpoint) -> None:
    failing(endpoint, since=days_ago(8), last=days_ago(2.1))
    settle(taken(endpoint), REFUSED)
    endpoint.refresh_from_db()
    assert endpoint.enabled
    assert endpoint.failing_since is not None
    assert endpoint.failing_since > days_ago(0.1)


def test_one_that_has_failed_all_the_time_is_given_up(endpoint: Endpoint) -> None:
    failing(endpoint, since=days_ago(8), last=days_ago(1.2))
    settle(taken(endpoint), REFUSED)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "failed for 5 days")


# Pauses


def by_a_test(endpoint: Endpoint) -> None:
    redelivery.ping(endpoint)


def by_resending(endpoint: Endpoint) -> None:
    redelivery.redeliver(Delivery.objects.latest("pk"))


def by_resending_a_range(endpoint: Endpoint) -> None:
    redelivery.redeliver_range(endpoint, since=days_ago(1), until=timezone.now(), states=Delivery.State.values)


def by_moving_it(endpoint: Endpoint) -> None:
    endpoints.change(endpoint, url="https://alice.example/new")


@pytest.mark.parametrize("disturb", [by_a_test, by_resending, by_resending_a_range, by_moving_it])
def test_a_request_by_hand_ends_a_pause(endpoint: Endpoint, disturb: Callable[[Endpoint], None]) -> None:
    settle(taken(endpoint), Outcome(cause="bad_status", status=503, asked=86400.0))
    endpoint.refresh_from_db()
    assert endpoint.quiet_until is not None
    redelivery.ping(endpoint)
    Endpoint.objects.update(quiet_until=endpoint.quiet_until)
    assert delivery.claim(most=1, most_slow=1) == []
    disturb(endpoint)
    assert len(delivery.claim(most=1, most_slow=1)) == 1


def test_a_delivery_that_arrives_ends_a_pause(endpoint: Endpoint) -> None:
    Endpoint.objects.update(slow=False)
    late = taken(endpoint)
    settle(taken(endpoint), Outcome(cause="bad_status", status=503, asked=600))
    settle(late)
    endpoint.refresh_from_db()
    assert (endpoint.quiet_until, endpoint.failing_since) == (None, None)


# The log of one delivery


def test_of_the_attempts_of_a_delivery_the_last_are_kept(endpoint: Endpoint) -> None:
    redelivery.ping(endpoint)
    for _ in range(delivery.ATTEMPTS_KEPT + 3):
        redelivery.redeliver(Delivery.objects.get())
        [claimed] = delivery.claim(most=1, most_slow=1)
        settle(claimed)
    numbers = list(Attempt.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(4, delivery.ATTEMPTS_KEPT + 4))


def test_what_was_interrupted_by_our_own_end_is_no_try(endpoint: Endpoint) -> None:
    taken(endpoint)
    for interrupted in range(1, 4):
        past = timezone.now() - timedelta(seconds=1)
        Delivery.objects.update(leased_until=past, next_attempt_at=past)
        delivery.claim(most=1, most_slow=1)
        now = Delivery.objects.get()
        assert (now.tries, now.attempt_count) == (1, interrupted + 1)
