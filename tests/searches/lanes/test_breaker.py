"""Tests of the breaker: when a provider that fails for all tenants opens and closes it, as a table and in a lane."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
import redis
from django.db import connection

from accounts import clock
from accounts.models import Mode, Tenant
from providers import policies
from providers.contract import Answer
from providers.failures import (
    Failure,
    Faulty,
    Refused,
)
from providers.keyring import credentials
from providers.models import Policy
from searches.calls import outcomes, settlement
from searches.lanes import estimates, pauses, queue, wakeups
from searches.lanes.breaker import FAILURES
from searches.lanes.queue import ClaimedLookup
from searches.models import Call, Lane, Lookup, QueueState, TenantQueue
from tests.racing import at_once
from tests.searches.conftest import Fill

Claim = Callable[[], ClaimedLookup | None]
OUTAGE = Faulty("provider_error", "It failed.", status=500)
FOUND = Answer(hits=(), billed_results=0, last=True, status=200)


@pytest.fixture
def policy(policy: Policy, redis_client: redis.Redis) -> Policy:
    """Returns the policy of a lane whose log began long ago."""
    redis_client.flushdb()
    policies.lane_limiter(policy.provider, policy).pause(seconds=0)
    redis_client.hset(f"lane:{{{policy.provider}}}", "log_began", 0)
    return policy


@pytest.fixture
def fail(claim: Claim, policy: Policy) -> Callable[..., None]:
    """Returns `fail`: `fail(5)` makes five claimed calls fail for a fault of the provider."""

    def fail(times: int = 1, failure: Failure = OUTAGE) -> None:
        for _ in range(times):
            claimed = claim()
            assert claimed is not None
            outcomes.failed(claimed, policy, failure)

    return fail


@pytest.fixture
def broken(fill: Fill, fail: Callable[..., None], lane: Lane, alice: Tenant, bob: Tenant) -> Lane:
    """Returns a lane with five lookups of Alice and five of Bob, of which five have failed."""
    fill(alice, 5)
    fill(bob, 5)
    fail(FAILURES)
    return now(lane)


def now(lane: Lane) -> Lane:
    return Lane.objects.get(pk=lane.pk)


def let_it_pass(lane: Lane) -> None:
    """Returns the time for which the breaker is open."""
    Lane.objects.filter(pk=lane.pk).update(broken_until=clock.now())


def closed(lane: Lane) -> bool:
    return all(getattr(now(lane), name) == value for name, value in pauses.CLOSED.items())


def closed_in_redis(client: redis.Redis, lane: Lane) -> float:
    """Returns the seconds for which the limiter holds calls back."""
    seconds, microseconds = client.time()
    until = int(client.hget(f"lane:{{{lane.pk}}}", "closed_until") or 0)
    return max(0.0, until / 1e6 - seconds - microseconds / 1e6)


pytestmark = pytest.mark.django_db


def test_nothing_is_claimed_while_it_is_open(broken: Lane, claim: Claim, redis_client: redis.Redis) -> None:
    assert claim() is None
    assert wakeups.lanes_with_work() == []
    assert Lookup.objects.filter(queue_state=QueueState.READY).count() == 5
    assert broken.broken_until is not None
    assert timedelta(seconds=10) < broken.broken_until - clock.now() <= timedelta(seconds=15)
    assert 10 < closed_in_redis(redis_client, broken) <= 15


def test_a_waiting_lookup_is_shown_as_backing_off(broken: Lane) -> None:
    waiting = Lookup.objects.filter(queue_state=QueueState.READY)
    forecasts = estimates.forecast(waiting).values()
    assert {each.waiting_on for each in forecasts} == {"provider_backoff"}
    assert broken.broken_until is not None
    assert all(each.estimated_start_at and each.estimated_start_at > broken.broken_until for each in forecasts)


def test_after_its_pause_one_lookup_is_probed_and_the_others_wait(broken: Lane, claim: Claim, policy: Policy) -> None:
    let_it_pass(broken)
    probe = claim()
    assert probe is not None
    assert not probe.more
    assert claim() is None
    outcomes.answered(probe, FOUND)
    assert closed(broken)
    assert [claim() is not None for _ in range(4)] == [True] * 4


def test_one_that_fails_too_opens_it_for_twice_as_long(broken: Lane, fail: Callable[..., None]) -> None:
    for trips, seconds in ((2, 30), (3, 60)):
        let_it_pass(broken)
        fail()
        lane = now(broken)
        assert lane.trips == trips
        assert lane.broken_until is not None
        assert timedelta(seconds=seconds - 5) < lane.broken_until - clock.now() <= timedelta(seconds=seconds)


def test_the_next_probe_is_another_tenants_however_heavy_the_first(
    fill: Fill, claim: Claim, policy: Policy, broken: Lane, alice: Tenant, bob: Tenant
) -> None:
    Tenant.objects.filter(pk=alice.pk).update(weight=1000)
    fill(alice, 10)
    fill(bob, 10)
    probes = ""
    for _ in range(8):
        let_it_pass(broken)
        probe = claim()
        assert probe is not None
        probes += probe.lookup.tenant.name[0]
        outcomes.failed(probe, policy, OUTAGE)
    assert probes in ("ABABABAB", "BABABABA")


def test_a_breaker_that_opens_and_closes_during_a_settlement_does_not_pause_the_limiter(
    fill: Fill,
    claim: Claim,
    fail: Callable[..., None],
    lane: Lane,
    redis_client: redis.Redis,
    alice: Tenant,
    bob: Tenant,
) -> None:
    fill(alice, 5)
    fill(bob, 5)
    fail(FAILURES - 1)
    as_settled = now(lane)
    fail()
    assert closed_in_redis(redis_client, lane) > 10
    pauses.record_answer(as_settled, backoff=0)
    assert closed(lane)
    assert closed_in_redis(redis_client, lane) == 0


def test_a_pause_that_the_row_no_longer_has_is_not_kept_in_the_limiter(
    broken: Lane, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer closes the breaker just before the limiter is paused for it."""
    pause_limiter = pauses.pause_limiter

    def late(lane: Lane, *, seconds: float) -> None:
        monkeypatch.setattr(pauses, "pause_limiter", pause_limiter)
        pauses.record_answer(broken, backoff=0)
        pause_limiter(lane, seconds=seconds)

    monkeypatch.setattr(pauses, "pause_limiter", late)
    pauses.sync_limiter(broken)
    assert closed(broken)
    assert closed_in_redis(redis_client, broken) == 0


def test_closing_it_keeps_a_pause_that_the_provider_asked_for_since(broken: Lane, redis_client: redis.Redis) -> None:
    pauses.throttle_lane(broken.pk, seconds=60)
    pauses.record_answer(broken, backoff=0)
    assert 50 < closed_in_redis(redis_client, broken) <= 60


def test_a_probe_that_says_nothing_is_followed_by_another(broken: Lane, claim: Claim, policy: Policy) -> None:
    let_it_pass(broken)
    never_sent, refused = claim(), None
    assert never_sent is not None
    settlement.unsent(never_sent.call, never_sent.lookup)
    refused = claim()
    assert refused is not None
    outcomes.failed(refused, policy, Refused("refused", "Not this picture.", status=400))
    assert claim() is not None
    assert claim() is None
    assert now(broken).trips == 1


def test_what_was_under_way_when_it_opened_closes_it_if_it_is_answered(
    fill: Fill,
    claim: Claim,
    fail: Callable[..., None],
    lane: Lane,
    redis_client: redis.Redis,
    alice: Tenant,
    bob: Tenant,
) -> None:
    fill(alice, 5)
    fill(bob, 5)
    under_way = claim()
    assert under_way is not None
    fail(FAILURES)
    assert now(lane).trips == 1
    outcomes.answered(under_way, FOUND)
    assert closed(lane)
    assert closed_in_redis(redis_client, lane) == 0
    assert claim() is not None


def test_closing_it_ends_no_pause_that_the_provider_asked_for(
    broken: Lane, claim: Claim, policy: Policy, redis_client: redis.Redis
) -> None:
    let_it_pass(broken)
    probe = claim()
    assert probe is not None
    pauses.throttle_lane(broken.pk, seconds=60)
    outcomes.answered(probe, FOUND)
    assert closed(broken)
    assert claim() is None
    assert 50 < closed_in_redis(redis_client, broken) <= 60


def test_an_answer_between_begins_the_count_anew(
    fill: Fill, claim: Claim, fail: Callable[..., None], lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 6)
    fill(bob, 6)
    under_way = claim()
    assert under_way is not None
    fail(FAILURES - 1)
    outcomes.answered(under_way, FOUND)
    fail(FAILURES - 1)
    assert now(lane).trips == 0
    fail()
    assert now(lane).trips == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_at_the_end_of_its_pause_one_gets_a_call(broken: Lane, policy: Policy) -> None:
    let_it_pass(broken)
    come = partial(queue.claim, broken.pk, policy, lease=timedelta(seconds=10))
    assert sum(claimed is not None for claimed in at_once([come] * 6)) == 1


def test_a_healthy_lane_is_not_written_for_an_answer(fill: Fill, claim: Claim, alice: Tenant) -> None:
    fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    written: list[str] = []

    def note(execute: Callable[..., object], sql: str, *rest: object) -> object:
        written.extend([sql] if 'UPDATE "searches_lane"' in sql else [])
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        outcomes.answered(claimed, FOUND)
    assert written == []


def test_one_tenants_broken_key_does_not_stop_other_tenants(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 20)
    fill(bob, 20)
    answered = 0
    while claimed := claim():
        if claimed.lookup.tenant_id == alice.pk:
            outcomes.failed(claimed, policy, OUTAGE)
        else:
            outcomes.answered(claimed, FOUND)
            answered += 1
    assert answered == 20
    assert now(lane).trips == 0


def test_nor_where_it_is_alone_in_line(fill: Fill, fail: Callable[..., None], lane: Lane, alice: Tenant) -> None:
    fill(alice, 20)
    fail(20)
    assert now(lane).trips == 0


def test_nor_with_two_keys(fill: Fill, fail: Callable[..., None], lane: Lane, alice: Tenant) -> None:
    lookups = fill(alice, 20)
    second = credentials.create(alice, "modash", "another-key-of-hers", label="second")
    Lookup.objects.filter(pk__in=[lookup.pk for lookup in lookups[::2]]).update(credential=second)
    fail(20)
    assert now(lane).trips == 0


def test_the_same_key_of_two_tenants_is_one(
    fill: Fill, fail: Callable[..., None], lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 5)
    fill(bob, 5)
    shared = alice.credentials.get()
    bob.credentials.update(fingerprint=shared.fingerprint)
    fail(10)
    assert now(lane).trips == 0


def test_a_test_lane_has_none(fill: Fill, fail: Callable[..., None], lane: Lane, alice: Tenant, bob: Tenant) -> None:
    fill(alice, 5)
    fill(bob, 5)
    Lane.objects.update(mode=Mode.TEST)
    fail(10)
    assert closed(lane)


def test_a_failure_that_is_settled_twice_is_counted_once(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant
) -> None:
    fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    for _ in range(3):
        outcomes.failed(claimed, policy, OUTAGE)
    assert now(lane).failures == 1


def test_an_outage_burns_no_attempts_while_it_lasts(broken: Lane, policy: Policy) -> None:
    wakeups.fill_all()
    spent = dict(Lookup.objects.values_list("pk", "attempts"))
    TenantQueue.objects.update(wake_at=clock.now())
    assert queue.claim(broken.pk, policy, lease=timedelta(seconds=1)) is None
    assert dict(Lookup.objects.values_list("pk", "attempts")) == spent
    assert Call.objects.count() == FAILURES
