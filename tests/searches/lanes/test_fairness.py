"""Tests of fairness: claims are shared by weight among tenants with work, and no way of submitting gains any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accounts import clock, keys
from accounts.models import Mode, Tenant
from providers.contract import Answer
from providers.failures import Failure, Faulty, Throttled
from providers.models import Credential, Policy
from searches.calls import outcomes, settlement
from searches.lanes import credential_gate, pauses
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import cancellation
from searches.models import Lane, Lookup, QueueState, Search, TenantQueue
from tests.searches.conftest import Fill

Claim = Callable[[], ClaimedLookup | None]
pytestmark = pytest.mark.django_db
PAGE = Answer(hits=(), billed_results=0, last=False, status=200)
FAULT = Faulty("provider_error", "It failed.", status=500)
# These weights divide a step without a remainder, so that a round is exact.
WEIGHTS = st.sampled_from((1, 2, 4, 5))
law = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def turns(claim: Claim, count: int = 1000) -> str:
    """Claims up to `count` times, answering each call before the next; returns the tenants, one letter each."""
    taken = ""
    while len(taken) < count and (claimed := claim()):
        taken += claimed.lookup.tenant.name[0]
        outcomes.answered(claimed, PAGE)
    return taken


def weigh(tenant: Tenant, weight: int) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(weight=weight)


@given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=4), weight=st.integers(1, 5), data=st.data())
@law
def test_splitting_work_over_keys_searches_sources_and_pages_gains_nothing(
    pieces: list[int], weight: int, data: st.DataObject, fill: Fill, claim: Claim, alice: Tenant, bob: Tenant
) -> None:
    """Many lookups get as many claims as one lookup of as many calls."""
    weigh(alice, weight)
    point = transaction.savepoint()
    fill(bob, 5)
    fill(alice, 1, pages=sum(pieces))
    whole = turns(claim)
    transaction.savepoint_rollback(point)
    point = transaction.savepoint()
    fill(bob, 5)
    for pages in pieces:
        [lookup] = fill(alice, 1, pages=pages, priority=data.draw(st.integers(-10, 10)))
        Search.objects.filter(pk=lookup.search_id).update(api_key=keys.issue(alice, Mode.LIVE)[0])
        Lookup.objects.filter(pk=lookup.pk).update(source=data.draw(st.sampled_from(["one", "another"])))
    split = turns(claim)
    transaction.savepoint_rollback(point)
    assert split == whole
    assert Counter(split) == {"A": sum(pieces), "B": 5}


@given(priorities=st.lists(st.integers(-10, 10), min_size=3, max_size=6))
@law
def test_priority_orders_a_tenants_own_lookups_and_delays_no_other_tenant(
    priorities: list[int], fill: Fill, claim: Claim, alice: Tenant, bob: Tenant
) -> None:
    point = transaction.savepoint()
    fill(bob, 6, priority=-10)
    mine = [fill(alice, 1, priority=priority)[0] for priority in priorities]
    taken: list[Lookup] = []
    while claimed := claim():
        taken.append(claimed.lookup)
    transaction.savepoint_rollback(point)
    own = [lookup.pk for lookup in taken if lookup.tenant_id == alice.pk]
    by_priority = sorted(zip(priorities, mine, strict=True), key=lambda pair: -pair[0])
    assert own == [lookup.pk for _, lookup in by_priority]
    both = [lookup.tenant_id for lookup in taken[: 2 * min(6, len(mine))]]
    assert abs(both.count(alice.pk) - both.count(bob.pk)) <= 1


@given(mine=st.integers(1, 4), theirs=st.integers(1, 4), idle=st.lists(st.integers(0, 12), min_size=1, max_size=3))
@law
def test_having_been_idle_gains_nothing_however_often(
    mine: int, theirs: int, idle: list[int], fill: Fill, claim: Claim, alice: Tenant, bob: Tenant
) -> None:
    """After her return, her share follows from her weight, to one claim."""
    weigh(alice, mine)
    weigh(bob, theirs)
    point = transaction.savepoint()
    fill(bob, 120)
    for count in idle:
        turns(claim, count)
        fill(alice, 2 * mine)
        taken = turns(claim, mine + theirs)
        assert taken.count("A") <= mine + 1
        cancel_all_of(alice)
    transaction.savepoint_rollback(point)


def cancel_all_of(tenant: Tenant) -> None:
    waiting = Lookup.objects.filter(tenant=tenant).exclude(queue_state=QueueState.NONE)
    for search in Search.objects.filter(lookups__in=waiting).distinct():
        cancellation.cancel(search)


@given(rounds=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=2, max_size=8))
@law
def test_canceling_and_submitting_again_gains_nothing(
    rounds: list[tuple[int, int]], fill: Fill, claim: Claim, alice: Tenant, bob: Tenant
) -> None:
    point = transaction.savepoint()
    fill(bob, 60)
    taken = ""
    for turns_before, again in rounds:
        fill(alice, again)
        taken += turns(claim, turns_before)
        cancel_all_of(alice)
    transaction.savepoint_rollback(point)
    assert taken.count("A") <= taken.count("B") + 1


@pytest.mark.parametrize("failure", [FAULT, Throttled("rate_limited", "Slow down.")], ids=["fault", "429"])
def test_retries_are_turns_like_any_other(
    failure: Failure, fill: Fill, claim: Claim, policy: Policy, alice: Tenant, bob: Tenant
) -> None:
    """A tenant whose every call fails gets as many claims as one whose calls work."""
    fill(alice, 20)
    fill(bob, 20, pages=2)
    taken = Counter[str]()
    for _ in range(24):
        claimed = claim()
        assert claimed is not None
        taken[claimed.lookup.tenant.name] += 1
        if claimed.lookup.tenant_id == alice.pk:
            outcomes.failed(claimed, policy, failure)
            wake()
        else:
            outcomes.answered(claimed, PAGE)
    assert abs(taken["Alice"] - taken["Bob"]) <= 1


def wake() -> None:
    """Makes all delayed lookups due."""
    past = clock.now() - timedelta(seconds=1)
    Credential.objects.exclude(rests_until=None).update(rests_until=past)
    Lookup.objects.filter(queue_state=QueueState.DELAYED).update(not_before=past)
    TenantQueue.objects.exclude(wake_at=None).update(wake_at=past)
    Lane.objects.update(paused_until=None, **pauses.CLOSED)


# The reasons for which a tenant is idle, and how each ends: each function is applied to all her ready lookups.


def delay(claim: Claim, policy: Policy, tenant: Tenant) -> None:
    """Fails her every call, to be tried again in an hour. It would be in a second, which a slow machine needs for a few calls; it
    would call again and again, until her lookups have failed.
    """
    while TenantQueue.objects.get(tenant=tenant).ready:
        claimed = claim()
        assert claimed is not None
        if claimed.lookup.tenant_id == tenant.pk:
            outcomes.failed(claimed, policy, FAULT)
            later = clock.now() + timedelta(hours=1)
            Lookup.objects.filter(queue_state=QueueState.DELAYED).update(not_before=later)
            TenantQueue.objects.filter(tenant=tenant).update(wake_at=later)
        else:
            outcomes.answered(claimed, PAGE)


def block(claim: Claim, policy: Policy, tenant: Tenant) -> None:
    tenant.credentials.update(state=Credential.State.INVALID)


def unblock(tenant: Tenant) -> None:
    tenant.credentials.update(state=Credential.State.VERIFIED)
    credential_gate.unblock()


def throttle(claim: Claim, policy: Policy, tenant: Tenant) -> None:
    while True:
        claimed = claim()
        assert claimed is not None
        if claimed.lookup.tenant_id == tenant.pk:
            return outcomes.failed(claimed, policy, Throttled("rate_limited", "Slow down.", retry_after=3000))
        outcomes.answered(claimed, PAGE)


def suspend(claim: Claim, policy: Policy, tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(suspended_at=clock.now())


def readmit(tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(suspended_at=None)


def stop_everybody(claim: Claim, policy: Policy, tenant: Tenant) -> None:
    pauses.throttle_lane(policy.provider, seconds=3000)


def end_waiting(tenant: Tenant) -> None:
    wake()


AWAY: dict[str, tuple[Callable[[Claim, Policy, Tenant], None], Callable[[Tenant], None]]] = {
    "delayed": (delay, end_waiting),
    "blocked": (block, unblock),
    "resting": (throttle, end_waiting),
    "suspended": (suspend, readmit),
    "paused": (stop_everybody, end_waiting),
}


@given(
    reasons=st.lists(st.sampled_from(sorted(AWAY)), min_size=1, max_size=4),
    missed=st.integers(2, 12),
    mine=WEIGHTS,
    theirs=WEIGHTS,
)
@law
@example(reasons=["delayed"], missed=12, mine=1, theirs=1)
@example(reasons=["resting"], missed=12, mine=1, theirs=1)
@example(reasons=["blocked"], missed=12, mine=1, theirs=1)
@example(reasons=["suspended"], missed=12, mine=1, theirs=1)
@example(reasons=["paused"], missed=12, mine=1, theirs=1)
def test_a_tenant_that_returns_from_idle_neither_gains_nor_loses_calls(
    reasons: list[str],
    missed: int,
    mine: int,
    theirs: int,
    fill: Fill,
    claim: Claim,
    policy: Policy,
    alice: Tenant,
    bob: Tenant,
) -> None:
    """After her return, her share follows from her weight, to one claim."""
    weigh(alice, mine)
    weigh(bob, theirs)
    point = transaction.savepoint()
    fill(bob, 1, pages=1000)
    for reason in reasons:
        leave, come_back = AWAY[reason]
        fill(alice, 5 * mine)
        leave(claim, policy, alice)
        assert turns(claim, missed) == ("" if reason == "paused" else "B" * missed)
        come_back(alice)
        assert abs(turns(claim, 2 * (mine + theirs)).count("A") - 2 * mine) <= 1
        cancel_all_of(alice)
    transaction.savepoint_rollback(point)


def test_what_was_claimed_and_never_sent_is_no_turn_and_no_gain(
    fill: Fill, claim: Claim, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 20)
    fill(bob, 20)
    sent = Counter[str]()
    for number in range(30):
        claimed = claim()
        assert claimed is not None
        if claimed.lookup.tenant_id == alice.pk and number % 3 == 0:
            settlement.unsent(claimed.call, claimed.lookup)
        else:
            sent[claimed.lookup.tenant.name] += 1
            outcomes.answered(claimed, PAGE)
    assert abs(sent["Alice"] - sent["Bob"]) <= 1


@given(weights=st.tuples(*[WEIGHTS] * 3), changed=WEIGHTS)
@law
def test_shares_are_the_weights_those_too_that_are_changed_under_a_backlog(
    weights: tuple[int, ...], changed: int, fill: Fill, claim: Claim, alice: Tenant, bob: Tenant, charlie: Tenant
) -> None:
    """The shares are exact in every whole round."""
    point = transaction.savepoint()
    for tenant, weight in zip((alice, bob, charlie), weights, strict=True):
        weigh(tenant, weight)
        fill(tenant, 1, pages=100)
    before = Counter(turns(claim, sum(weights)))
    weigh(bob, changed)
    new = (weights[0], changed, weights[2])
    after = Counter(turns(claim, 2 * sum(new)))
    transaction.savepoint_rollback(point)
    assert [before[name] for name in "ABC"] == list(weights)
    assert [after[name] for name in "ABC"] == [2 * weight for weight in new]


def test_a_suspension_that_ends_gives_back_no_turns_that_it_cost(
    fill: Fill, claim: Claim, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 30)
    fill(bob, 30)
    turns(claim, 6)
    Tenant.objects.filter(pk=alice.pk).update(suspended_at=clock.now())
    assert turns(claim, 15) == "B" * 15
    Tenant.objects.filter(pk=alice.pk).update(suspended_at=None)
    back = turns(claim, 10)
    assert abs(back.count("A") - back.count("B")) <= 2


def test_only_the_end_of_a_suspension_changes_a_virtual_time(fill: Fill, lane: Lane, alice: Tenant) -> None:
    fill(alice, 1)
    Lane.objects.update(virtual_time=5)

    def time_after(**changes: object) -> int:
        Tenant.objects.filter(pk=alice.pk).update(**changes)
        return TenantQueue.objects.get().virtual_time

    begin = clock.now()
    assert [time_after(suspended_at=moment) for moment in (None, begin, begin, None)] == [0, 0, 0, 5]
