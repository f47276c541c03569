"""Tests of the line that operators see: it is the order in which claims take the lookups."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import clock
from accounts.models import Tenant
from providers.keyring import credentials
from providers.models import Credential
from searches.coalescing import matching
from searches.lanes import estimates, next_in_line, queue
from searches.models import Lane, Lookup, QueueState, Status, TenantQueue
from tests.searches.conftest import Fill

Drain = Callable[..., list[Lookup]]
pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def line(lane: Lane, most: int = 100) -> list[Any]:
    return [lookup.pk for lookup in next_in_line.of(lane.pk, most=most)]


def pks(lookups: list[Lookup]) -> list[Any]:
    return [lookup.pk for lookup in lookups]


def delay(lookup: Lookup, length: timedelta) -> None:
    """Makes a ready lookup wait until so long from now, as after a call that failed."""
    due, own_row = clock.now() + length, Lookup.objects.filter(pk=lookup.pk)
    own_row.update(queue_state=QueueState.NONE, status=Status.RUNNING)
    own_row.update(queue_state=QueueState.DELAYED, not_before=due)
    own = TenantQueue.objects.filter(lane=lookup.lane_id, tenant=lookup.tenant_id)
    own.update(ready=F("ready") - 1, pending_calls=F("pending_calls") - lookup.pages)
    for tenant_queue in own:
        own.update(wake_at=min(tenant_queue.wake_at or due, due))


def set_up_keys(tenant: Tenant, data: st.DataObject) -> list[Credential | None]:
    """Stores two keys, each of which may rest or be dead. Returns what a lookup may have: either, or none any more."""
    keys = [credentials.store(tenant, "modash", f"{label}-key-of-{tenant.pk}", label=label) for label in ("one", "two")]
    for key in keys:
        state = data.draw(st.sampled_from([Credential.State.VERIFIED] * 3 + [Credential.State.INVALID]))
        rests = clock.now() + HOUR if data.draw(st.sampled_from([False, False, True])) else None
        Credential.objects.filter(pk=key.pk).update(state=state, rests_until=rests)
    return [*keys, *keys, None]


def set_up(tenant: Tenant, data: st.DataObject, fill: Fill) -> None:
    """Gives a tenant a weight, a virtual time that others may have too, and lookups of all kinds."""
    Tenant.objects.filter(pk=tenant.pk).update(weight=data.draw(st.sampled_from([1, 1, 2, 3, 7])))
    keys = set_up_keys(tenant, data)
    for priority in data.draw(st.lists(st.integers(-1, 1), max_size=6)):
        [lookup] = fill(tenant, 1, pages=data.draw(st.integers(1, 2)), priority=priority)
        Lookup.objects.filter(pk=lookup.pk).update(credential=data.draw(st.sampled_from(keys)))
        if after := data.draw(st.sampled_from([None, None, None, -HOUR, HOUR])):
            delay(lookup, after)
    TenantQueue.objects.filter(tenant=tenant).update(virtual_time=data.draw(st.integers(0, 3)) * queue.STEP)


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_line_is_the_order_of_claims(
    data: st.DataObject, fill: Fill, drain: Drain, lane: Lane, alice: Tenant, bob: Tenant, charlie: Tenant
) -> None:
    point = transaction.savepoint()
    try:
        for tenant in (alice, bob, charlie):
            set_up(tenant, data, fill)
        Lane.objects.update(virtual_time=data.draw(st.integers(0, 3)) * queue.STEP)
        shown, few = line(lane), line(lane, most=3)
        claimed = pks(drain())
    finally:
        transaction.savepoint_rollback(point)
    assert shown == claimed
    assert few == claimed[:3]


def test_a_lookup_takes_the_place_of_the_first_of_its_followers(
    fill: Fill, drain: Drain, lane: Lane, alice: Tenant
) -> None:
    [first, leader], [urgent] = fill(alice, 2), fill(alice, 1, priority=5)
    with transaction.atomic():
        queue.withdraw([urgent])
    matching.inherit_priority({leader.pk: urgent.sort_key})
    assert line(lane) == pks([leader, first]) == pks(drain())


def test_suspended_tenants_are_not_in_line(fill: Fill, drain: Drain, lane: Lane, alice: Tenant, bob: Tenant) -> None:
    fill(alice, 2)
    his = fill(bob, 2)
    Tenant.objects.filter(pk=alice.pk).update(suspended_at=clock.now())
    assert line(lane) == pks(his) == pks(drain())


def test_a_place_in_line_is_the_position_that_is_estimated(
    fill: Fill, lane: Lane, alice: Tenant, bob: Tenant, charlie: Tenant
) -> None:
    for tenant, weight in ((alice, 1), (bob, 4), (charlie, 1)):
        Tenant.objects.filter(pk=tenant.pk).update(weight=weight)
        fill(tenant, 6)
    shown = next_in_line.of(lane.pk)
    forecasts = estimates.forecast(shown)
    assert [forecasts[lookup.pk].position for lookup in shown] == list(range(1, 19))


def test_a_tenants_queue_has_a_place_among_the_others(
    fill: Fill, lane: Lane, alice: Tenant, bob: Tenant, charlie: Tenant
) -> None:
    for tenant in (alice, bob, charlie):
        fill(tenant, 1)
    TenantQueue.objects.filter(tenant=alice).update(virtual_time=2 * queue.STEP)
    TenantQueue.objects.filter(tenant=charlie).update(rests_until=clock.now() + HOUR)
    found = next_in_line.places(TenantQueue.objects.all())
    places = {own.tenant: found.get(own.pk) for own in TenantQueue.objects.select_related("tenant")}
    assert places == {bob: 1, alice: 2, charlie: None}


def test_a_lane_that_nobody_waits_in_has_no_line(lane: Lane) -> None:
    assert line(lane) == line(Lane(name="nowhere")) == []
