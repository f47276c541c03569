from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
import redis
from django.db import connection, transaction
from django.db.models import Q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import clock
from accounts.models import Mode, Tenant
from providers.models import Policy
from searches.lanes import estimates, pauses, queue, wakeups
from searches.lanes.queue import ClaimedLookup
from searches.models import Call, Lane, Lookup, QueueState, Search, Status, TenantQueue
from tests.searches.conftest import LEASE, Fill

Claim = Callable[[], ClaimedLookup | None]
Drain = Callable[..., list[Lookup]]
pytestmark = pytest.mark.django_db


def names(lookups: list[Lookup]) -> str:
    """Returns the lookups' tenants, one letter each."""
    return "".join(lookup.tenant.name[0] for lookup in lookups)


def test_a_claim_arms_a_call_under_a_lease_and_starts_the_search(fill: Fill, claim: Claim, alice: Tenant) -> None:
    [lookup] = fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    assert (claimed.lookup.pk, claimed.lookup.status, claimed.lookup.queue_state) == (lookup.pk, "running", "none")
    assert claimed.call.state == Call.State.ARMED
    assert claimed.call.leased_until - claimed.call.armed_at == LEASE
    assert not claimed.more
    search = Search.objects.get()
    assert (search.status, search.version) == (Status.RUNNING, 2)


def test_without_a_ready_lookup_nothing_is_claimed(claim: Claim) -> None:
    assert claim() is None


def test_tenants_take_turns_whatever_the_length_of_their_queues(
    fill: Fill, drain: Drain, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 6)
    fill(bob, 2)
    assert Counter(names(drain(4))) == {"A": 2, "B": 2}
    assert names(drain()) == "AAAA"


def test_a_new_tenant_is_called_before_a_neighbours_backlog(
    fill: Fill, drain: Drain, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 200)
    drain(50)
    fill(bob, 1)
    assert "B" in names(drain(2))


def test_having_been_idle_gains_nothing(fill: Fill, drain: Drain, alice: Tenant, bob: Tenant) -> None:
    fill(bob, 1)
    fill(alice, 40)
    drain(21)
    fill(bob, 10)
    assert Counter(names(drain(10))) == {"A": 5, "B": 5}


def test_shares_follow_the_weights(fill: Fill, drain: Drain, alice: Tenant, bob: Tenant, charlie: Tenant) -> None:
    for tenant, weight in ((alice, 1), (bob, 2), (charlie, 5)):
        Tenant.objects.filter(pk=tenant.pk).update(weight=weight)
        fill(tenant, 60)
    shares = Counter(names(drain(80)))
    assert (abs(shares["A"] - 10), abs(shares["B"] - 20), abs(shares["C"] - 50)) <= (1, 1, 1)


def test_a_new_weight_applies_to_the_present_backlog(fill: Fill, drain: Drain, alice: Tenant, bob: Tenant) -> None:
    fill(alice, 50)
    fill(bob, 50)
    drain(10)
    Tenant.objects.filter(pk=bob.pk).update(weight=4)
    assert abs(Counter(names(drain(25)))["B"] - 20) <= 1


def test_priority_orders_a_tenants_own_lookups_only(fill: Fill, drain: Drain, alice: Tenant, bob: Tenant) -> None:
    low, normal, high = (fill(alice, 1, priority=p)[0] for p in (-10, 0, 10))
    other = fill(bob, 3, priority=-10)
    taken = drain()
    assert [lookup.pk for lookup in taken if lookup.tenant_id == alice.pk] == [high.pk, normal.pk, low.pk]
    assert {lookup.pk for lookup in taken[:2]} == {high.pk, other[0].pk}


def test_a_lookup_that_is_put_back_keeps_its_position(fill: Fill, claim: Claim, alice: Tenant) -> None:
    first, _ = fill(alice, 2)
    claimed = claim()
    assert claimed is not None
    with transaction.atomic():
        queue.put_back(claimed.lookup, queue.lock_tenant_queue(claimed.lookup.lane_id, alice.pk))
    again = claim()
    assert again is not None
    assert again.lookup.pk == first.pk


def test_an_unused_turn_is_given_back(fill: Fill, claim: Claim, drain: Drain, alice: Tenant, bob: Tenant) -> None:
    fill(alice, 3)
    fill(bob, 3)
    claimed = claim()
    assert claimed is not None
    with transaction.atomic():
        tenant_queue = queue.lock_tenant_queue(claimed.lookup.lane_id, claimed.lookup.tenant_id)
        queue.put_back(claimed.lookup, tenant_queue, void=True)
    assert Counter(names(drain(4))) == {"A": 2, "B": 2}


def test_a_sleeper_is_passed_over_until_it_is_due(fill: Fill, claim: Claim, lane: Lane, alice: Tenant) -> None:
    fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    with transaction.atomic():
        queue.put_back(claimed.lookup, queue.lock_tenant_queue(lane.name, alice.pk), after=timedelta(seconds=60))
    assert claim() is None
    assert wakeups.lanes_with_work() == []
    past = clock.now() - timedelta(seconds=1)
    Lookup.objects.update(not_before=past)
    TenantQueue.objects.update(wake_at=past)
    assert wakeups.lanes_with_work() == [lane]
    woken = claim()
    assert woken is not None
    assert TenantQueue.objects.get().wake_at is None


def test_a_shorter_pause_does_not_end_a_longer_one(lane: Lane) -> None:
    with transaction.atomic():
        pauses.throttle_lane(lane.name, seconds=60)
        pauses.throttle_lane(lane.name, seconds=1)
    lane.refresh_from_db()
    assert lane.paused_until is not None
    assert lane.paused_until > clock.now() + timedelta(seconds=30)
    assert lane.backoff == 2


def test_refusals_without_end_can_be_counted(lane: Lane) -> None:
    Lane.objects.update(backoff=pauses.MOST_BACKOFF)
    with transaction.atomic():
        pauses.throttle_lane(lane.name, seconds=1)
    lane.refresh_from_db()
    assert lane.backoff == pauses.MOST_BACKOFF


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "why", ["nothing", "lane", "policy", "told to wait", "was told to wait", "broken", "was broken"]
)
def test_a_lane_is_paused_for_claims_wake_ups_and_operators_alike(
    why: str, mode: Mode, fill: Fill, lane: Lane, alice: Tenant
) -> None:
    fill(alice, 1)
    soon, before = clock.now() + timedelta(seconds=60), clock.now() - timedelta(seconds=1)
    until = {"told to wait": "paused_until", "broken": "broken_until"}
    Lane.objects.update(mode=mode, paused=why == "lane", **{until[why]: soon} if why in until else {})
    if why.startswith("was "):
        Lane.objects.update(**{until[why.removeprefix("was ")]: before})
    Policy.objects.update(paused=why == "policy")
    lane = Lane.objects.select_related("policy").get()
    paused = why in ("lane", *until) or (why, mode) == ("policy", Mode.LIVE)
    assert Lane.objects.filter(pauses.paused_at(clock.now())).exists() is paused
    assert bool(pauses.reasons(lane, clock.now())) is paused
    assert (wakeups.lanes_with_work() == []) is paused
    assert (queue.claim(lane.name, lane.policy_in_force, lease=LEASE) is None) is paused


def test_the_sweep_wakes_as_many_workers_as_a_lane_has_waiters(
    fill: Fill, lane: Lane, alice: Tenant, redis_client: redis.Redis
) -> None:
    redis_client.flushdb()
    fill(alice, 3)
    wakeups.fill_all()
    assert redis_client.llen(f"{wakeups.KEY_PREFIX}searches") == lane.limiter.rate.most_waiting == 2


def test_nothing_is_claimed_in_a_pause(fill: Fill, claim: Claim, lane: Lane, policy: Policy, alice: Tenant) -> None:
    fill(alice, 1)
    with transaction.atomic():
        pauses.throttle_lane(lane.name, seconds=60)
    assert claim() is None
    Lane.objects.update(paused_until=None)
    policy.paused = True
    assert queue.claim(lane.name, policy, lease=LEASE) is None


def test_a_suspended_tenants_lookups_are_not_claimed(fill: Fill, drain: Drain, alice: Tenant, bob: Tenant) -> None:
    fill(alice, 2)
    fill(bob, 2)
    Tenant.objects.filter(pk=alice.pk).update(suspended_at=clock.now())
    assert names(drain()) == "BB"
    assert Lookup.objects.filter(queue_state=QueueState.READY).count() == 2
    assert wakeups.lanes_with_work() == []


def test_withdrawn_lookups_are_taken_out_of_the_queue_once(fill: Fill, drain: Drain, alice: Tenant) -> None:
    lookups = fill(alice, 3)
    drain(1)
    with transaction.atomic():
        taken = queue.withdraw(lookups)
        assert queue.withdraw(lookups) == []
    assert {lookup.pk for lookup in taken} == {lookups[1].pk, lookups[2].pk}
    assert TenantQueue.objects.get().ready == 0


def test_what_found_something_since_it_was_read_is_not_withdrawn_as_having_found_nothing(
    fill: Fill, alice: Tenant
) -> None:
    first, second = fill(alice, 2)
    Lookup.objects.filter(pk=first.pk).update(pages_done=1)
    with transaction.atomic():
        assert queue.withdraw([first, second], only=Q(pages_done=0)) == [second]
    assert TenantQueue.objects.get().ready == 1


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_position_is_the_number_of_claims_until_its_own(
    data: st.DataObject, fill: Fill, drain: Drain, alice: Tenant, bob: Tenant, charlie: Tenant
) -> None:
    point = transaction.savepoint()
    for tenant in (alice, bob, charlie):
        Tenant.objects.filter(pk=tenant.pk).update(weight=data.draw(st.integers(1, 7)))
        fill(tenant, data.draw(st.integers(0, 6)))
    drain(data.draw(st.integers(0, 5)))
    fill(bob, data.draw(st.integers(0, 3)))
    ready = Lookup.objects.filter(queue_state=QueueState.READY)
    positions = {pk: forecast.position for pk, forecast in estimates.forecast(ready).items()}
    order = {lookup.pk: number for number, lookup in enumerate(drain(), start=1)}
    transaction.savepoint_rollback(point)
    assert positions == order


@pytest.mark.django_db(transaction=True)
def test_no_lookup_is_claimed_twice_however_many_claim(
    fill: Fill, lane: Lane, policy: Policy, alice: Tenant, bob: Tenant
) -> None:
    for _ in range(3):
        fill(alice, 10)
        fill(bob, 10)

    def work(_: int) -> list[UUID]:
        taken = []
        while claimed := queue.claim(lane.name, policy, lease=LEASE):
            taken.append(claimed.lookup.pk)
        connection.close()
        return taken

    with ThreadPoolExecutor(4) as pool:
        claimed = [pk for taken in pool.map(work, range(4)) for pk in taken]
    assert len(claimed) == len(set(claimed)) == 60
    assert set(TenantQueue.objects.values_list("ready", flat=True)) == {0}


def test_a_lookup_that_is_claimed_while_it_is_shown_is_the_next(fill: Fill, drain: Drain, alice: Tenant) -> None:
    first, second = fill(alice, 2)
    drain(1)
    forecasts = estimates.forecast([first, second])
    assert [forecasts[lookup.pk].position for lookup in (first, second)] == [1, 1]
