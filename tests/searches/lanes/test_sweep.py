"""Tests of the sweep: it is harmless when doubled, useful when late, and stopped by no single fault."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
import redis
from django.db import connection, transaction
from django.db.models import F

from accounts import clock
from accounts.models import Mode, Tenant
from billing import audit, ledger
from billing.models import Hold
from providers import limiter, policies
from providers.models import Policy
from searches import tasks
from searches.lanes import queue
from searches.lanes.queue import ClaimedLookup
from searches.models import Call, Lane, Lookup, QueueState, TenantQueue
from tests.searches.conftest import Fill

pytestmark = pytest.mark.django_db(transaction=True)

# The most that a lookup of `fill` may cost, in credits.
MOST = Decimal("0.5")


@pytest.fixture
def policy(policy: Policy, redis_client: redis.Redis) -> Policy:
    """Returns the policy of a lane with a short interval, whose log began long ago."""
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    policy.refresh_from_db()
    redis_client.flushdb()
    policies.lane_limiter("modash", policy).pause(seconds=0)
    redis_client.hset("lane:{modash}", "log_began", 0)
    return policy


@pytest.fixture
def claims(fill: Fill, lane: Lane, policy: Policy, alice: Tenant) -> list[ClaimedLookup]:
    """Returns ten claimed lookups of Alice, under leases that have ended."""
    lookups = fill(alice, 10)
    ledger.hold(
        [ledger.Demand(reference=at.reference, tenant_id=alice.pk, provider="modash", amount=MOST) for at in lookups]
    )
    found = [queue.claim(lane.name, policy, lease=timedelta(0)) for _ in lookups]
    return [claimed for claimed in found if claimed]


def waiter(policy: Policy) -> limiter.Waiter:
    return policies.lane_limiter("modash", policy).waiter("mine")


def send(claims: list[ClaimedLookup], policy: Policy) -> None:
    """Notes the calls as sent in the lane's log."""
    mine = waiter(policy)
    mine.start(seconds=60)
    for claimed in claims:
        limiter.Token(waiter=mine, call=str(claimed.call.pk)).redeem()


def let_pass(**time: float) -> None:
    Call.objects.update(armed_at=F("armed_at") - timedelta(**time))


def sweep_at_once(times: int = 4) -> None:
    def sweep(_: int) -> None:
        tasks.sweep_lanes()
        connection.close()

    with ThreadPoolExecutor(times) as pool:
        list(pool.map(sweep, range(times)))


def held() -> set[tuple[Decimal, Decimal]]:
    """Returns the open and unknown credits of each lookup; asserts that the ledger agrees with itself."""
    assert audit.differences() == []
    return set(Hold.objects.values_list("open", "unknown"))


def test_doubled_sweeps_bring_each_unsent_call_back_to_its_turn_once(claims: list[ClaimedLookup]) -> None:
    sweep_at_once()
    assert not Call.objects.exists()
    assert set(Lookup.objects.values_list("queue_state", flat=True)) == {QueueState.READY}
    tenant_queue = TenantQueue.objects.get()
    assert (tenant_queue.ready, tenant_queue.virtual_time) == (10, 0)
    assert held() == {(MOST, Decimal(0))}


def test_doubled_sweeps_settle_each_lost_call_once(claims: list[ClaimedLookup], policy: Policy) -> None:
    send(claims, policy)
    let_pass(minutes=1)
    sweep_at_once()
    assert set(Call.objects.values_list("state", flat=True)) == {Call.State.UNKNOWN}
    assert set(Lookup.objects.values_list("queue_state", "unknown_calls")) == {(QueueState.READY, 1)}
    assert held() == {(MOST, MOST)}


def test_a_call_that_left_is_given_its_time(claims: list[ClaimedLookup], policy: Policy) -> None:
    send(claims, policy)
    tasks.sweep_lanes()
    assert set(Call.objects.values_list("state", flat=True)) == {Call.State.ARMED}
    assert not Call.objects.filter(leased_until__lte=clock.now()).exists()


def test_a_sweep_after_the_log_has_expired_takes_no_call_for_unsent(claims: list[ClaimedLookup]) -> None:
    let_pass(hours=1)
    tasks.sweep_lanes()
    assert set(Call.objects.values_list("state", flat=True)) == {Call.State.UNKNOWN}
    assert set(Lookup.objects.values_list("queue_state", flat=True)) == {QueueState.READY}
    assert held() == {(MOST, MOST)}


def test_a_call_that_cannot_be_settled_keeps_no_other_from_it(
    claims: list[ClaimedLookup], policy: Policy, redis_client: redis.Redis
) -> None:
    policy.pk = "gone"
    policy.save(force_insert=True)
    lane = Lane.objects.create(name="gone", policy=policy, mode=Mode.TEST)
    Lookup.objects.filter(pk=claims[0].lookup.pk).update(lane=lane)
    tasks.sweep_lanes()
    assert [call.pk for call in Call.objects.all()] == [claims[0].call.pk]
    assert TenantQueue.objects.get().ready == 9
    assert redis_client.llen("celery:searches") > 0


def test_what_was_overbilled_leaves_less_to_become_unknown(claims: list[ClaimedLookup], policy: Policy) -> None:
    for claimed in claims:
        with transaction.atomic():
            ledger.charge(claimed.lookup.reference, Decimal("0.4"), key=f"an-earlier-page-of-{claimed.lookup.pk}")
    send(claims, policy)
    let_pass(minutes=1)
    tasks.sweep_lanes()
    assert held() == {(MOST, Decimal("0.1"))}


def test_a_wrong_count_stops_no_tenant(fill: Fill, lane: Lane, policy: Policy, alice: Tenant, bob: Tenant) -> None:
    TenantQueue.objects.create(lane=lane, tenant=alice, ready=3)
    fill(bob, 1)
    assert queue.claim(lane.name, policy, lease=timedelta(0)) is None
    claimed = queue.claim(lane.name, policy, lease=timedelta(0))
    assert claimed is not None
    assert claimed.lookup.tenant == bob
