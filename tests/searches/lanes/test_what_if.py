"""Tests of comparisons: the waits that a proposal would give are those that are estimated when it is saved."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import clock
from accounts.models import Mode, Tenant
from providers.contract import Answer
from providers.models import Policy
from searches.calls import outcomes
from searches.lanes import directory, estimates, pauses, what_if
from searches.lanes.estimates import Proposal
from searches.lanes.queue import ClaimedLookup
from searches.models import Lane, Lookup, QueueState
from tests.searches.conftest import Fill

pytestmark = pytest.mark.django_db
PAGE = Answer(hits=(), billed_results=0, last=False, status=200)


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_proposal_gives_the_estimates_that_it_gives_when_it_is_saved(
    data: st.DataObject,
    fill: Fill,
    claim: Callable[[], ClaimedLookup | None],
    policy: Policy,
    alice: Tenant,
    bob: Tenant,
) -> None:
    point = transaction.savepoint()
    weight = st.integers(1, 7)
    for tenant in (alice, bob):
        Tenant.objects.filter(pk=tenant.pk).update(weight=data.draw(weight))
        for pages in data.draw(st.lists(st.integers(1, 3), max_size=4)):
            fill(tenant, 1, pages=pages)
    for _ in range(data.draw(st.integers(0, 3))):
        if (claimed := claim()) and data.draw(st.booleans()):
            outcomes.answered(claimed, PAGE)
    Lane.objects.update(claimed_at=clock.now() + timedelta(minutes=1))
    proposed = copy(policy)
    proposed.calls, proposed.window_ms = data.draw(st.integers(1, 5)), data.draw(st.integers(500, 5000))
    weights = {alice.pk: data.draw(weight)}
    waiting = list(Lookup.objects.filter(queue_state=QueueState.READY))
    told = estimates.forecast(waiting, Proposal(weights=weights, policy=proposed))
    Tenant.objects.filter(pk=alice.pk).update(weight=weights[alice.pk])
    proposed.save()
    saved = estimates.forecast(waiting)
    transaction.savepoint_rollback(point)
    assert told == saved


def test_a_greater_weight_lets_a_tenant_start_sooner_and_another_later(
    fill: Fill, lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    for tenant in (alice, bob):
        fill(tenant, 10)
    Lane.objects.update(claimed_at=clock.now() + timedelta(minutes=1))
    found = what_if.compare(lane, Proposal(weights={bob.pk: 5}))
    his, hers = found.tenants
    assert (his.tenant, his.proposed_weight, his.ready) == (bob, 5, 10)
    assert (hers.tenant, hers.proposed_weight, hers.ready) == (alice, 1, 10)
    assert his.last.now
    assert his.last.then
    assert hers.first.now
    assert hers.first.then
    assert his.last.then < his.last.now
    assert hers.first.then >= hers.first.now
    assert Tenant.objects.get(pk=bob.pk).weight == 1


def test_a_wider_limit_shortens_the_wait_of_a_new_tenant(fill: Fill, lane: Lane, alice: Tenant, bob: Tenant) -> None:
    for tenant in (alice, bob):
        fill(tenant, 1)
    Lane.objects.update(claimed_at=clock.now() + timedelta(minutes=1))
    policy = copy(lane.policy)
    policy.calls = 10
    found = what_if.compare(lane, Proposal(policy=policy))
    assert found.new_tenant_now
    assert found.new_tenant_then
    assert found.new_tenant_now - found.new_tenant_then > 2 * 0.9


def test_a_lane_that_operators_paused_has_no_waits(fill: Fill, lane: Lane, alice: Tenant) -> None:
    fill(alice, 1)
    pauses.pause(lane)
    found = what_if.compare(Lane.objects.get(), Proposal(weights={alice.pk: 2}))
    assert (found.new_tenant_now, found.new_tenant_then) == (None, None)
    assert [(each.first.now, each.first.then) for each in found.tenants] == [(None, None)]


def test_the_busiest_lanes_of_a_policy_are_live_and_those_of_a_tenant_are_its_own(
    fill: Fill, lane: Lane, policy: Policy, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 1)
    test_lane = directory.lane_of(policy, mode=Mode.TEST, tenant_id=alice.pk)
    assert what_if.busiest_lanes(policy=policy) == what_if.busiest_lanes(tenant=alice) == [lane]
    assert what_if.busiest_lanes(tenant=bob) == []
    assert test_lane not in what_if.busiest_lanes(policy=policy)
