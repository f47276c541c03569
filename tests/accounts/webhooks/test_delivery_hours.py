"""Deliveries are counted by the hour in which they were recorded, and by what became of them."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from accounts import clock
from accounts.ids import first_id_of
from accounts.models import Delivery, DeliveryHour, Endpoint, Event, EventType, Mode, RollupProgress, Tenant
from accounts.rollups import HOUR, floor
from accounts.webhooks import delivery_hours, endpoints
from tests.racing import at_once


@pytest.fixture
def noon() -> datetime:
    return floor(clock.now(), HOUR) - 5 * HOUR


@pytest.fixture
def endpoint(alice: Tenant) -> Endpoint:
    return endpoints.create(alice, Mode.LIVE, url="https://shop.example/hooks")[0]


def recorded(endpoint: Endpoint, moment: datetime, state: str, **other: Any) -> Delivery:
    event = Event.objects.create(
        tenant=endpoint.tenant, mode=Mode.LIVE, type=EventType.PING, body="{}", created_at=moment
    )
    is_pending = state == "pending"
    return Delivery.objects.create(
        id=UUID(int=first_id_of(moment).int | secrets.randbits(62)),
        tenant=endpoint.tenant,
        event=event,
        endpoint=endpoint,
        state=state,
        created_at=moment,
        next_attempt_at=moment if is_pending else None,
        finished_at=None if is_pending else moment + timedelta(seconds=2),
        **other,
    )


def count() -> None:
    delivery_hours.roll_up(seconds=60)


def test_each_state_has_its_column(endpoint: Endpoint, noon: datetime) -> None:
    for state in ("pending", "failed", "delivered"):
        recorded(endpoint, noon, state, attempt_count=1)
    recorded(endpoint, noon, "delivered", attempt_count=3)
    count()
    count()
    hour = DeliveryHour.objects.get()
    assert (hour.pending, hour.failed, hour.delivered, hour.retried, hour.seconds) == (1, 1, 2, 1, 4.0)


def test_a_pending_delivery_is_counted_anew_when_it_has_ended(endpoint: Endpoint, noon: datetime) -> None:
    delivery = recorded(endpoint, noon - 10 * HOUR, "pending")
    count()
    Delivery.objects.filter(pk=delivery.pk).update(state="failed", next_attempt_at=None)
    count()
    hour = DeliveryHour.objects.get()
    assert (hour.pending, hour.failed) == (0, 1)


def test_what_the_log_may_have_forgotten_is_not_counted(endpoint: Endpoint, noon: datetime) -> None:
    recorded(endpoint, noon - 24 * HOUR, "delivered")
    count()
    assert not DeliveryHour.objects.exists()
    assert RollupProgress.objects.get().since > noon - 20 * HOUR


@pytest.mark.django_db(transaction=True)
def test_two_that_count_at_once_double_nothing(endpoint: Endpoint, noon: datetime) -> None:
    for hours in range(5):
        recorded(endpoint, noon + hours * HOUR, "delivered")
    at_once([count] * 4)
    count()
    assert [hour.delivered for hour in DeliveryHour.objects.all()] == [1] * 5
