"""Recording events: for which endpoints, and with which bodies; and sending deliveries once more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, current_app
from django.db import transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import batches, webhooks
from accounts.models import Attempt, Delivery, Endpoint, Event, EventType, Mode, Tenant
from accounts.webhooks import delivery, endpoints, redelivery, retention, wakeups
from accounts.webhooks.delivery import Outcome
from tests.api.background import background, meanwhile, until_somebody_waits_for_a_lock
from tests.patience import HANGS_AFTER_SECONDS
from tests.providers.wire import Caller, wire
from tests.racing import at_once

URL = "https://alice.example/hooks"
FAILED, SUCCEEDED = EventType.SEARCH_FAILED, EventType.SEARCH_SUCCEEDED


def endpoint_of(tenant: Tenant, *events: str, mode: Mode = Mode.LIVE) -> Endpoint:
    return endpoints.create(tenant, mode, url=f"https://{uuid4()}.example/", events=events)[0]


def record(tenant: Tenant, type: EventType = FAILED, mode: Mode = Mode.LIVE) -> None:
    webhooks.record(tenant.pk, mode, type, {"id": 7})


def told() -> set[Endpoint]:
    return {delivery.endpoint for delivery in Delivery.objects.select_related("endpoint")}


# The endpoints


def test_every_endpoint_that_wants_the_type_gets_the_one_event(alice: Tenant) -> None:
    all_types, this_type = endpoint_of(alice), endpoint_of(alice, "search.partial", "search.failed")
    endpoint_of(alice, "search.partial")
    record(alice)
    assert told() == {all_types, this_type}
    assert Event.objects.count() == 1
    assert {(each.state, each.attempt_count) for each in Delivery.objects.all()} == {("pending", 0)}


def test_other_tenants_other_modes_and_disabled_endpoints_get_no_event(alice: Tenant, charlie: Tenant) -> None:
    endpoint_of(charlie)
    endpoint_of(alice, mode=Mode.TEST)
    endpoints.disable(endpoint_of(alice))
    record(alice)
    assert not Event.objects.exists()
    record(alice, mode=Mode.TEST)
    record(charlie)
    assert Event.objects.count() == 2


def test_an_event_that_no_endpoint_wants_is_not_kept(alice: Tenant) -> None:
    endpoint_of(alice, "search.failed")
    record(alice, SUCCEEDED)
    assert not Event.objects.exists()


def test_of_several_types_those_that_an_endpoint_wants_are_built_alone(alice: Tenant) -> None:
    failing, succeeding = endpoint_of(alice, "search.failed"), endpoint_of(alice, "ping", "search.succeeded")
    built: list[EventType] = []
    types = (FAILED, SUCCEEDED, EventType.SEARCH_PARTIAL)
    webhooks.record_wanted(alice.pk, Mode.LIVE, {type: partial(_built, built, type) for type in types})
    assert built == [FAILED, SUCCEEDED]
    assert [(each.event.type, each.endpoint) for each in Delivery.objects.order_by("pk")] == [
        (FAILED, failing),
        (SUCCEEDED, succeeding),
    ]


def _built(built: list[EventType], type: EventType) -> list[dict[str, Any]]:
    built.append(type)
    return [{"id": 7}]


def test_asking_what_is_wanted_is_one_query(alice: Tenant, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    endpoint_of(alice, "ping")
    with django_assert_num_queries(1):
        webhooks.record_wanted(alice.pk, Mode.LIVE, {FAILED: list, SUCCEEDED: list})


# The bodies


def test_a_body_says_its_type_its_time_and_what_happened(alice: Tenant) -> None:
    endpoint_of(alice)
    id = uuid4()
    at = datetime(2026, 11, 20, 12, 0, 0, 5, tzinfo=UTC)
    webhooks.record(alice.pk, Mode.LIVE, FAILED, {"id": id, "at": at, "name": "Zoë \0"})
    event = Event.objects.get()
    body = json.loads(event.body)
    assert list(body) == ["type", "timestamp", "data"]
    assert body["type"] == "search.failed"
    assert datetime.fromisoformat(body["timestamp"]) == event.created_at
    assert body["data"] == {"id": str(id), "at": "2026-11-20T12:00:00.000005Z", "name": "Zoë \0"}


# The transaction


def test_an_event_of_what_was_rolled_back_is_gone_with_it(alice: Tenant) -> None:
    endpoint_of(alice)

    def fail() -> None:
        with transaction.atomic():
            record(alice)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_worker_is_asked_to_look_when_it_is_committed_and_not_before(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A test before this one may have taken Redis away.
    wakeups.cooldown.end()
    endpoint_of(alice)
    with wake_ups() as count:
        with transaction.atomic():
            record(alice)
            assert count() == 0
        assert count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_burst_is_announced_once_and_no_more_often_than_anybody_listens(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "WAKE_UP_SECONDS", 600)
    monkeypatch.setattr(wakeups, "MOST_WAKE_UPS", 2)
    endpoint_of(alice)
    with wake_ups() as count:
        for expected in (1, 2, 2):
            wakeups.cooldown.end()
            for _ in range(5):
                record(alice)
            assert count() == expected


@contextmanager
def wake_ups() -> Iterator[Callable[[], int]]:
    """Yields a function that counts the messages in the queue."""
    with current_app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        channel.queue_purge("webhooks")
        yield lambda: channel.queue_declare("webhooks").message_count
        channel.queue_purge("webhooks")


@pytest.mark.django_db(transaction=True)
def test_without_redis_events_are_recorded_and_it_is_not_asked_for_each(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    wakeups.cooldown.end()
    endpoint_of(alice)
    with nobody() as (asked, url), Celery("elsewhere", broker=url, set_as_current=False) as elsewhere:
        monkeypatch.setattr(wakeups, "current_app", elsewhere)
        record(alice)
        at_first = asked()
        record(alice)
        assert (Event.objects.count(), asked()) == (2, at_first)
        assert at_first > 0


@contextmanager
def nobody() -> Iterator[tuple[Callable[[], int], str]]:
    """Yields a broker that closes every connection, and a function that counts them."""
    came = []

    def hang_up(caller: Caller) -> None:
        came.append(caller)

    with wire(hang_up) as it:
        yield lambda: len(came), f"redis://127.0.0.1:{it.port}/0"


@pytest.mark.django_db(transaction=True)
def test_events_of_one_tenant_do_not_wait_for_each_other(alice: Tenant) -> None:
    endpoint_of(alice)
    with transaction.atomic():
        record(alice)
        with meanwhile(lambda: record(alice, SUCCEEDED)) as [other]:
            other.result(HANGS_AFTER_SECONDS)
    assert Event.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_concurrent_deletion_of_an_endpoint_fails_no_transaction(alice: Tenant) -> None:
    endpoint = endpoint_of(alice)
    with background() as start:
        with transaction.atomic():
            record(alice)
            start(lambda: endpoints.remove(endpoint)).result(HANGS_AFTER_SECONDS)
            forgetting = start(retention.forget_deleted)
            until_somebody_waits_for_a_lock()
        forgetting.result(HANGS_AFTER_SECONDS)
        retention.forget_deleted()
    assert not Endpoint.with_deleted.exists()
    assert not Delivery.objects.exists()
    endpoints.remove(endpoint)


def test_a_delivery_is_not_sent_once_more_without_end(alice: Tenant) -> None:
    endpoint_of(alice)
    record(alice)
    Delivery.objects.update(attempt_count=redelivery.MOST_ATTEMPTS, state="failed", next_attempt_at=None)
    with pytest.raises(redelivery.TooManyAttempts):
        redelivery.redeliver(Delivery.objects.get())
    hour = timedelta(hours=1)
    now = timezone.now()
    assert redelivery.redeliver_range(Endpoint.objects.get(), since=now - hour, until=now + hour) == 0
    assert Delivery.objects.get().state == "failed"


# Erased


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_erased_during_its_settlement_leaves_no_rows(alice: Tenant) -> None:
    endpoint_of(alice)
    for _ in range(20):
        webhooks.record(alice.pk, Mode.LIVE, FAILED, {"id": 7}, reference="search:7")
        [claimed] = delivery.claim(most=1, most_slow=1)
        settle = partial(delivery.settle, claimed, Outcome(status=200), started_at=claimed.claimed_at, seconds=0.1)
        at_once([settle, atomically(lambda: webhooks.erase("search:7"))])
        assert not Event.objects.exists()


def atomically(act: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with transaction.atomic():
            act()

    return run


def test_what_is_about_something_else_stays(alice: Tenant) -> None:
    endpoint_of(alice)
    webhooks.record(alice.pk, Mode.LIVE, FAILED, {"id": 7}, reference="search:7")
    webhooks.record(alice.pk, Mode.LIVE, FAILED, {"id": 70}, reference="search:70")
    record(alice)
    webhooks.erase("search:7")
    assert set(Event.objects.values_list("reference", flat=True)) == {"search:70", ""}
    assert Delivery.objects.count() == 2


# Tests


def test_a_ping_is_sent_to_one_endpoint_whatever_types_it_wants(alice: Tenant) -> None:
    endpoint_of(alice)
    endpoint = endpoint_of(alice, "search.failed")
    delivery = redelivery.ping(endpoint)
    assert told() == {endpoint}
    assert (delivery.state, delivery.event.type) == ("pending", "ping")
    assert json.loads(delivery.event.body)["data"] == {"endpoint_id": str(endpoint.pk)}


def test_a_ping_to_an_endpoint_that_is_gone_is_refused(alice: Tenant) -> None:
    endpoint = endpoint_of(alice)
    Endpoint.objects.all().delete()
    with pytest.raises(Endpoint.DoesNotExist):
        redelivery.ping(endpoint)


# Redelivery


def ended(state: Delivery.State, *, attempts: int = 3) -> None:
    Delivery.objects.update(
        state=state, next_attempt_at=None, tries=attempts, attempt_count=attempts, finished_at=timezone.now()
    )


@pytest.mark.parametrize("state", [Delivery.State.DELIVERED, Delivery.State.FAILED])
def test_a_resent_delivery_keeps_its_id_and_its_count(alice: Tenant, state: Delivery.State) -> None:
    endpoint_of(alice)
    record(alice)
    ended(state)
    [sent] = Delivery.objects.all()
    Attempt.objects.create(delivery=sent, number=3, started_at=timezone.now(), duration_ms=1)
    redelivery.redeliver(sent)
    assert (sent.state, sent.tries, sent.attempt_count, sent.finished_at) == ("pending", 0, 3, None)
    assert sent.next_attempt_at is not None
    assert sent.attempts.count() == 1


def test_a_delivery_that_is_under_way_is_not_sent_twice_at_once(alice: Tenant) -> None:
    endpoint_of(alice)
    record(alice)
    until = timezone.now() + timedelta(seconds=20)
    Delivery.objects.update(leased_until=until, next_attempt_at=until, tries=1, attempt_count=1)
    [delivery] = Delivery.objects.all()
    redelivery.redeliver(delivery)
    assert (delivery.leased_until, delivery.next_attempt_at, delivery.tries) == (until, until, 1)


def test_a_range_is_resent_by_time_state_and_type(alice: Tenant) -> None:
    endpoint, other = endpoint_of(alice), endpoint_of(alice)
    for number in range(6):
        record(alice, FAILED if number % 2 else SUCCEEDED)
    ended(Delivery.State.FAILED)
    times = list(Event.objects.order_by("created_at").values_list("created_at", flat=True))
    since, until = times[1], times[5]
    assert redelivery.redeliver_range(endpoint, since=since, until=until, types=[FAILED]) == 2
    assert redelivery.redeliver_range(endpoint, since=since, until=until, states=["delivered"]) == 0
    assert redelivery.redeliver_range(endpoint, since=since, until=until) == 2
    assert Delivery.objects.filter(state="pending").count() == 4
    assert not Delivery.objects.filter(state="pending", endpoint=other).exists()


def test_a_long_range_is_resent_whole(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SIZE", 2)
    endpoint = endpoint_of(alice)
    for _ in range(5):
        record(alice)
    ended(Delivery.State.FAILED)
    soon = timezone.now() + timedelta(minutes=1)
    assert redelivery.redeliver_range(endpoint, since=soon - timedelta(hours=1), until=soon) == 5
