"""The log of deliveries stays in bounds, and a delivery that is not sent says why."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from accounts import batches, webhooks
from accounts.models import Attempt, Delivery, Endpoint, Event, EventType, Mode, Tenant
from accounts.webhooks import endpoints, redelivery, retention
from tests.racing import at_once


def endpoint_of(tenant: Tenant, *, events: int) -> Endpoint:
    endpoint, _ = endpoints.create(tenant, Mode.LIVE, url=f"https://{uuid4()}.example/")
    for _ in range(events):
        redelivery.ping(endpoint)
    return endpoint


def let_days_pass(days: float) -> None:
    Event.objects.update(created_at=timezone.now() - timedelta(days=days))


def test_a_delivery_that_becomes_due_for_a_disabled_endpoint_fails_and_says_why(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SIZE", 2)
    disabled, other = endpoint_of(alice, events=5), endpoint_of(alice, events=1)
    endpoints.disable(disabled)
    retention.end_disabled()
    ended = Delivery.objects.filter(endpoint=disabled)
    assert {(each.state, each.next_attempt_at, each.attempt_count) for each in ended} == {("failed", None, 1)}
    assert set(Attempt.objects.values_list("delivery__endpoint", "cause")) == {(disabled.pk, "endpoint_disabled")}
    assert Delivery.objects.get(endpoint=other).state == "pending"


def test_what_is_not_due_yet_waits_for_the_endpoint_to_be_enabled(alice: Tenant) -> None:
    endpoint = endpoint_of(alice, events=1)
    later = timezone.now() + timedelta(hours=5)
    Delivery.objects.update(next_attempt_at=later, tries=4, attempt_count=4)
    endpoints.disable(endpoint)
    retention.end_disabled()
    endpoints.enable(endpoint)
    waiting = Delivery.objects.get()
    assert (waiting.state, waiting.next_attempt_at, waiting.tries) == ("pending", later, 4)


def test_what_was_ended_can_be_sent_again(alice: Tenant) -> None:
    endpoint = endpoint_of(alice, events=1)
    endpoints.disable(endpoint)
    retention.end_disabled()
    endpoints.enable(endpoint)
    redelivery.redeliver(Delivery.objects.get())
    assert Delivery.objects.get().state == "pending"


def test_a_run_does_a_part_of_a_backlog_and_the_next_goes_on(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SIZE", 1)
    monkeypatch.setattr(retention, "BATCHES", 2)
    endpoints.disable(endpoint_of(alice, events=3))
    retention.end_disabled()
    assert Delivery.objects.filter(state="failed").count() == 2
    retention.end_disabled()
    assert Delivery.objects.filter(state="failed").count() == 3


def test_a_deleted_endpoints_log_alone_is_deleted_in_batches(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SIZE", 2)
    monkeypatch.setattr(retention, "BATCHES", 2)
    deleted, other = endpoint_of(alice, events=5), endpoint_of(alice, events=1)
    endpoints.remove(deleted)
    retention.end_disabled()
    assert not Attempt.objects.exists()
    retention.forget_deleted()
    assert Delivery.objects.filter(endpoint=deleted).count() == 1
    retention.forget_deleted()
    assert set(Endpoint.with_deleted.all()) == {other}
    assert {each.endpoint for each in Delivery.objects.all()} == {other}


def test_old_events_are_forgotten_with_all_that_is_known_of_them(
    alice: Tenant, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SIZE", 2)
    endpoint = endpoint_of(alice, events=5)
    endpoints.disable(endpoint)
    retention.end_disabled()
    let_days_pass(29.9)
    retention.forget_old()
    assert Event.objects.count() == 5
    let_days_pass(30.1)
    retention.forget_old()
    assert not Event.objects.exists()
    assert not Attempt.objects.exists()


def test_an_event_that_is_still_to_be_sent_is_not_forgotten(alice: Tenant) -> None:
    endpoint_of(alice, events=1)
    let_days_pass(90)
    retention.forget_old()
    assert Event.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_retention_and_erasure_at_once_both_succeed(alice: Tenant) -> None:
    endpoint = endpoint_of(alice, events=0)
    for _ in range(10):
        for _ in range(5):
            webhooks.record(alice.pk, Mode.LIVE, EventType.SEARCH_FAILED, {"id": 7}, reference="search:7")
        endpoints.disable(endpoint)
        retention.end_disabled()
        endpoints.enable(endpoint)
        let_days_pass(31)
        at_once([retention.forget_old, partial(transaction.atomic(webhooks.erase), "search:7")])
        assert not Event.objects.exists()
