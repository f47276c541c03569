"""Tests of resting keys: a key that the provider asks to wait rests, and no other lookup waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import clock
from accounts.models import Mode, Tenant
from providers import limiter, policies, registry
from providers.contract import Answer
from providers.failures import Throttled
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches.calls import outcomes
from searches.lanes import credential_gate, estimates, pauses, queue, wakeups
from searches.lanes.queue import ClaimedLookup
from searches.models import Lane, Lookup, QueueState, TenantQueue
from tests.searches.conftest import Fill
from tests.searches.lanes.test_fairness import turns

Claim = Callable[[], ClaimedLookup | None]
pytestmark = pytest.mark.django_db
FOUND = Answer(hits=(), billed_results=0, last=True, status=200)


def wait(seconds: float | None = 60) -> Throttled:
    return Throttled("rate_limited", "Slow down.", status=429, retry_after=seconds)


@pytest.fixture(autouse=True)
def empty_redis(redis_client: redis.Redis) -> None:
    redis_client.flushdb()


@pytest.fixture
def throttle(claim: Claim, policy: Policy) -> Callable[..., ClaimedLookup]:
    """Returns `throttle`, which claims the next call and settles it as told to wait."""

    def throttle(seconds: float | None = 60) -> ClaimedLookup:
        claimed = claim()
        assert claimed is not None
        outcomes.failed(claimed, policy, wait(seconds))
        return claimed

    return throttle


def rest_of(tenant: Tenant) -> timedelta:
    """Returns how long the tenant's only key still rests."""
    until = tenant.credentials.get().rests_until
    return until - clock.now() if until else timedelta()


def is_paused(lane: Lane) -> bool:
    return pauses.resumes_at(Lane.objects.get(pk=lane.pk), clock.now()) is not None


def let_it_pass(tenant: Tenant) -> None:
    past = clock.now() - timedelta(seconds=1)
    tenant.credentials.update(rests_until=past)
    TenantQueue.objects.filter(tenant=tenant, rests_until__isnull=False).update(rests_until=past, wake_at=past)


# Who waits


def test_only_its_own_lookups_wait(
    fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 3)
    throttle(3000)
    fill(bob, 5)
    assert turns(claim) == "BBBBB"
    assert not is_paused(lane)
    assert timedelta(seconds=2900) < rest_of(alice) <= timedelta(seconds=3000)
    assert set(Lookup.objects.filter(tenant=alice).values_list("queue_state", "attempts")) == {("ready", 0)}


def test_after_the_rest_it_is_the_first_of_its_tenants_queue(
    fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], alice: Tenant
) -> None:
    lookups = fill(alice, 3)
    assert throttle().lookup == lookups[0]
    assert claim() is None
    let_it_pass(alice)
    taken = [claimed.lookup for claimed in iter(claim, None)]
    assert taken == lookups


def test_an_answer_ends_the_count_of_rests_and_each_without_one_is_longer(
    fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], alice: Tenant
) -> None:
    fill(alice, 2)
    for seconds in (1, 2, 4, 8, 8):
        throttle(None)
        assert rest_of(alice).total_seconds() == pytest.approx(seconds, rel=0.3)
        let_it_pass(alice)
    claimed = claim()
    assert claimed is not None
    outcomes.answered(claimed, FOUND)
    throttle(None)
    assert rest_of(alice).total_seconds() == pytest.approx(1, rel=0.3)


def test_keyapi_is_left_alone_for_a_minute(fill: Fill, claim: Claim, alice: Tenant) -> None:
    """Covers KeyAPI alone: no other provider's documents say how long; in the sandbox nobody waits so long."""
    usual = {name: policies.of(name).throttled_seconds for name in registry.PROVIDERS}
    assert usual == {"keyapi": 60, "modash": 0, "memories": 0}
    assert policies.in_force(policies.of("keyapi"), Mode.TEST).throttled_seconds == 0
    fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    outcomes.failed(claimed, policies.of("keyapi"), wait(None))
    assert timedelta(seconds=55) < rest_of(alice) <= timedelta(seconds=60)


@given(keys=st.lists(st.booleans(), min_size=2, max_size=8))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_tenants_other_keys_are_called_in_their_order_at_its_share(
    keys: list[bool], fill: Fill, claim: Claim, alice: Tenant, bob: Tenant
) -> None:
    """`keys` are those of her lookups that use the resting key."""
    Lookup.objects.update(queue_state=QueueState.NONE)
    TenantQueue.objects.update(ready=0, pending_calls=0)
    mine = fill(alice, len(keys))
    credentials.store(alice, "modash", "hers-that-rests", label="resting")
    rests = Credential.objects.get(label="resting")
    rests.rests_until = clock.now() + timedelta(minutes=1)
    rests.save()
    for lookup, resting in zip(mine, keys, strict=True):
        Lookup.objects.filter(pk=lookup.pk, tenant=alice).update(**{"credential": rests} if resting else {})
    fill(bob, len(keys))
    taken = [claimed.lookup for claimed in iter(claim, None)]
    assert [each for each in taken if each.tenant_id == alice.pk] == [
        lookup for lookup, resting in zip(mine, keys, strict=True) if not resting
    ]
    both = [each.tenant_id for each in taken[: 2 * keys.count(False)]]
    assert abs(both.count(alice.pk) - both.count(bob.pk)) <= 1
    assert len(taken) == len(keys) + keys.count(False)


def test_a_new_lookup_with_another_key_does_not_wait(
    fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], alice: Tenant
) -> None:
    fill(alice, 2)
    throttle()
    assert claim() is None
    other = credentials.create(alice, "modash", "another-key-of-hers", label="other")
    [new] = fill(alice, 1)
    Lookup.objects.filter(pk=new.pk).update(credential=other)
    claimed = claim()
    assert claimed is not None
    assert claimed.lookup.pk == new.pk


def test_a_place_that_rests_is_left_alone_until_it_is_due(
    fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], lane: Lane, alice: Tenant
) -> None:
    fill(alice, 2)
    throttle()
    assert claim() is None
    tenant_queue = TenantQueue.objects.get()
    assert tenant_queue.rests_until == tenant_queue.wake_at == alice.credentials.get().rests_until
    assert not queue.has_ready(lane.pk)
    assert wakeups.lanes_with_work() == []
    let_it_pass(alice)
    assert wakeups.lanes_with_work() == [lane]
    assert claim() is not None
    assert (TenantQueue.objects.get().rests_until, TenantQueue.objects.get().wake_at) == (None, None)


def test_a_test_key_ignores_the_rest_of_the_credential(fill: Fill, claim: Claim, alice: Tenant) -> None:
    fill(alice, 1)
    alice.credentials.update(rests_until=clock.now() + timedelta(hours=1))
    Lane.objects.update(mode=Mode.TEST)
    assert claim() is not None


# What ends it


@pytest.mark.parametrize("how", ["replaced", "ended"])
def test_a_rest_that_ends_early_resumes_the_queue(
    how: str, fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], lane: Lane, alice: Tenant
) -> None:
    fill(alice, 2)
    throttle(3000)
    assert claim() is None
    if how == "replaced":
        credentials.store(alice, "modash", "a-new-key")
        credential_gate.wake_rested()
    else:
        pauses.clear(lane)
    assert alice.credentials.get().rests_until is None
    assert claim() is not None


def test_the_sweep_leaves_those_alone_whose_key_still_rests(
    fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], alice: Tenant
) -> None:
    fill(alice, 2)
    throttle(3000)
    assert claim() is None
    credentials.create(alice, "modash", "one-that-nothing-waits-for", label="other")
    before = TenantQueue.objects.values().get()
    credential_gate.wake_rested()
    assert TenantQueue.objects.values().get() == before


def test_a_throttle_of_a_key_that_was_replaced_meanwhile_does_not_rest_the_new_one(
    fill: Fill, claim: Claim, policy: Policy, alice: Tenant
) -> None:
    fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    credentials.store(alice, "modash", "a-new-key")
    outcomes.failed(claimed, policy, wait(3000))
    assert alice.credentials.get().rests_until is None


# What is told


def test_waiting_lookups_have_an_estimate_of_when_the_rest_ends(
    fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], alice: Tenant
) -> None:
    mine = fill(alice, 3)
    throttle(3000)
    forecasts = estimates.forecast(Lookup.objects.all())
    until = alice.credentials.get().rests_until
    assert until is not None
    assert {each.waiting_on for each in forecasts.values()} == {"provider_backoff"}
    starts = [forecasts[lookup.pk].estimated_start_at for lookup in mine]
    assert all(start is not None and start >= until for start in starts)
    assert claim() is None
    assert estimates.forecast(Lookup.objects.all())[mine[0].pk].waiting_on == "provider_backoff"


def test_estimates_of_others_do_not_count_resting_lookups(
    fill: Fill, claim: Claim, throttle: Callable[..., ClaimedLookup], lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 50)
    throttle(3000)
    assert claim() is None
    his = fill(bob, 3)
    forecasts = estimates.forecast(his)
    assert [forecasts[lookup.pk].calls_before for lookup in his] == [0, 1, 2]
    assert [forecasts[lookup.pk].position for lookup in his] == [1, 2, 3]
    waits = estimates.lane_state(lane.pk, lane.policy)
    assert waits.waiting == 3


def test_the_tenants_own_on_another_key_are_not_either(
    fill: Fill, throttle: Callable[..., ClaimedLookup], alice: Tenant
) -> None:
    fill(alice, 20)
    throttle(3000)
    other = credentials.create(alice, "modash", "another-key-of-hers", label="other")
    [first, second] = fill(alice, 2)
    Lookup.objects.filter(pk__in=[first.pk, second.pk]).update(credential=other)
    forecasts = estimates.forecast(Lookup.objects.filter(credential=other))
    assert (forecasts[first.pk].position, forecasts[second.pk].position) == (1, 2)
    assert forecasts[first.pk].waiting_on == "rate"


# What was claimed already


def test_a_call_that_was_claimed_before_is_not_made_with_a_resting_key(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant
) -> None:
    fill(alice, 2)
    refused, claimed = claim(), claim()
    assert refused is not None
    assert claimed is not None
    outcomes.failed(refused, policy, wait(30))
    waiter = policies.lane_limiter(lane.pk, policy).waiter("mine")
    waiter.start(seconds=30)
    with pytest.raises(limiter.TokenRefused):
        waiter.redeem(str(claimed.call.pk), pauses.resting_name(alice.credentials.get()))
    assert waiter.redeem(str(claimed.call.pk), "another key")[1]


# What it teaches the lane


@pytest.mark.parametrize(("times", "learned"), [(0, 2.0), (1, 0.0)])
def test_the_first_refusal_in_a_row_widens_the_lanes_guard_and_no_other_does(
    times: int,
    learned: float,
    fill: Fill,
    claim: Claim,
    policy: Policy,
    lane: Lane,
    alice: Tenant,
    redis_client: redis.Redis,
) -> None:
    """A key that is refused again and again has other reasons than jitter, so one key teaches little."""
    fill(alice, 1)
    alice.credentials.update(times_told_to_wait=times)
    policies.lane_limiter(lane.pk, policy).pause(seconds=0)
    claimed = claim()
    assert claimed is not None
    claimed.call.sent_at = clock.now()
    redis_client.zadd(f"lane:{{{lane.pk}}}:log", {"before": 1_000_000, str(claimed.call.pk): 2_003_000})
    outcomes.failed(claimed, policy, wait())
    assert lane.limiter.margin_ms() == learned
