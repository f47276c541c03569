"""Tests of lanes that rest: when refusals of several keys say that the provider asks all of them to wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from accounts import clock
from accounts.models import Tenant
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches.calls import outcomes
from searches.lanes import directory, queue
from searches.lanes.queue import ClaimedLookup
from searches.models import Call, Lane, Lookup, TenantQueue
from tests.racing import at_once
from tests.searches.conftest import Fill
from tests.searches.lanes.test_resting_keys import Claim, empty_redis, is_paused, rest_of, throttle, wait

__all__ = ["empty_redis", "throttle"]
pytestmark = pytest.mark.django_db


def test_keys_of_two_tenants_told_to_wait_within_a_window_pause_the_lane(
    fill: Fill,
    claim: Claim,
    throttle: Callable[..., ClaimedLookup],
    lane: Lane,
    alice: Tenant,
    bob: Tenant,
    charlie: Tenant,
) -> None:
    """The lane rests for the shorter of both delays."""
    for tenant in (alice, bob, charlie):
        fill(tenant, 2)
    throttle(30)
    assert not is_paused(lane)
    throttle(3000)
    until = Lane.objects.get(pk=lane.pk).paused_until
    assert until is not None
    assert timedelta(seconds=20) < until - clock.now() <= timedelta(seconds=30)
    assert claim() is None


def test_keys_of_two_tenants_told_to_wait_long_after_each_other_do_not_pause_it(
    fill: Fill, throttle: Callable[..., ClaimedLookup], policy: Policy, lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    for tenant in (alice, bob):
        fill(tenant, 2)
    throttle(3000)
    window = timedelta(milliseconds=policy.window_ms)
    alice.credentials.update(told_to_wait_at=clock.now() - 3 * window)
    throttle(3000)
    assert not is_paused(lane)


def test_nor_do_two_keys_of_one_tenant(
    fill: Fill, throttle: Callable[..., ClaimedLookup], lane: Lane, alice: Tenant
) -> None:
    lookups = fill(alice, 2)
    other = credentials.create(alice, "modash", "another-key-of-hers", label="other")
    Lookup.objects.filter(pk=lookups[1].pk).update(credential=other)
    throttle()
    throttle()
    assert not is_paused(lane)
    assert alice.credentials.filter(rests_until__gt=clock.now()).count() == 2


def test_one_key_that_two_tenants_store_rests_for_both_and_says_nothing_of_others(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 1)
    fill(bob, 2)
    bob.credentials.update(fingerprint=alice.credentials.get().fingerprint)
    claims = [claim(), claim()]
    for claimed in claims:
        assert claimed is not None
        outcomes.failed(claimed, policy, wait())
    assert not is_paused(lane)
    assert claim() is None
    assert min(rest_of(alice), rest_of(bob)) > timedelta(seconds=50)


def test_a_lane_that_has_just_rested_as_a_whole_rests_again_for_seconds_at_the_next_refusal(
    fill: Fill, throttle: Callable[..., ClaimedLookup], lane: Lane, alice: Tenant, bob: Tenant, charlie: Tenant
) -> None:
    """A hundred tenants thus need not find out one after the other what two have found out. An answer ends it."""
    for tenant in (alice, bob, charlie):
        fill(tenant, 2)
    throttle(3000)
    throttle(3000)
    past = clock.now() - timedelta(minutes=10)
    Lane.objects.update(paused_until=past)
    Credential.objects.exclude(told_to_wait_at=None).update(told_to_wait_at=past)
    assert throttle(3000).lookup.tenant == charlie
    paused_until = Lane.objects.get(pk=lane.pk).paused_until
    assert paused_until is not None
    assert timedelta(0) < paused_until - clock.now() < timedelta(seconds=3)


def test_a_lane_of_one_account_rests_as_a_whole(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant
) -> None:
    fill(alice, 2)
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    directory.move_lookups()
    account = Lookup.objects.earliest("pk").lane
    claimed = queue.claim(account.pk, policy, lease=timedelta(seconds=30))
    assert claimed is not None
    outcomes.failed(claimed, policy, wait())
    assert is_paused(account)
    assert not is_paused(lane)


@pytest.mark.django_db(transaction=True)
def test_fifty_answers_at_once_are_one_rest(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant
) -> None:
    fill(alice, 50)
    claims = [claim() for _ in range(50)]
    at_once([partial(outcomes.failed, claimed, policy, wait(None)) for claimed in claims if claimed])
    credential = alice.credentials.get()
    assert credential.times_told_to_wait == 1
    assert not is_paused(lane)
    assert set(Lookup.objects.values_list("queue_state", flat=True)) == {"ready"}
    assert TenantQueue.objects.get().ready == 50
    assert Call.objects.filter(state=Call.State.FAILED).count() == 50


@pytest.mark.django_db(transaction=True)
def test_throttled_calls_of_many_tenants_at_once_pause_the_lane_once_without_a_deadlock(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant, bob: Tenant, charlie: Tenant
) -> None:
    tenants = (alice, bob, charlie)
    for tenant in tenants:
        fill(tenant, 6)
    claims = [claim() for _ in range(18)]
    at_once([partial(outcomes.failed, claimed, policy, wait(30)) for claimed in claims if claimed])
    assert is_paused(lane)
    assert {tenant.credentials.get().times_told_to_wait for tenant in tenants} == {1}
    assert sum(TenantQueue.objects.values_list("ready", flat=True)) == 18
