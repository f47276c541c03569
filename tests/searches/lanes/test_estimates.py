"""Tests of estimates: the position and start of a waiting lookup, and that both come true."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from accounts import clock
from accounts.models import Tenant
from providers.contract import Answer
from providers.failures import Faulty
from providers.models import Policy
from searches.calls import outcomes
from searches.lanes import estimates, pauses, queue
from searches.lanes.estimates import Forecast
from searches.lanes.queue import ClaimedLookup
from searches.models import Lane, Lookup, QueueState, TenantQueue
from tests.searches.conftest import Fill

Claim = Callable[[], ClaimedLookup | None]
pytestmark = pytest.mark.django_db
PAGE = Answer(hits=(), billed_results=0, last=False, status=200)


def ready() -> list[Lookup]:
    return list(Lookup.objects.filter(queue_state=QueueState.READY))


def forecast_of(lookup: Lookup) -> Forecast:
    return estimates.forecast([Lookup.objects.get(pk=lookup.pk)])[lookup.pk]


def turns_taken(claim: Claim) -> list[Lookup]:
    """Claims until no lookup is left, answering each call before the next; returns the lookups in that order."""
    taken = []
    while claimed := claim():
        taken.append(claimed.lookup)
        outcomes.answered(claimed, PAGE)
    return taken


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_a_quiet_lane_each_lookup_starts_after_the_estimated_number_of_calls(
    data: st.DataObject, fill: Fill, claim: Claim, alice: Tenant, bob: Tenant, charlie: Tenant
) -> None:
    point = transaction.savepoint()
    for tenant in (alice, bob, charlie):
        Tenant.objects.filter(pk=tenant.pk).update(weight=data.draw(st.integers(1, 7)))
        for pages in data.draw(st.lists(st.integers(1, 4), max_size=3)):
            fill(tenant, 1, pages=pages, priority=data.draw(st.integers(-1, 1)))
    for _ in range(data.draw(st.integers(0, 4))):
        if claimed := claim():
            outcomes.answered(claimed, PAGE)
    estimated = {pk: forecast.calls_before for pk, forecast in estimates.forecast(ready()).items()}
    taken = [lookup.pk for lookup in turns_taken(claim)]
    transaction.savepoint_rollback(point)
    assert estimated == {pk: taken.index(pk) for pk in taken}


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lookups_that_are_not_written_yet_have_the_estimates_that_they_have_then(
    data: st.DataObject, fill: Fill, claim: Claim, lane: Lane, alice: Tenant, bob: Tenant
) -> None:
    point = transaction.savepoint()
    for tenant in (alice, bob):
        Tenant.objects.filter(pk=tenant.pk).update(weight=data.draw(st.integers(1, 7)))
        for pages in data.draw(st.lists(st.integers(1, 4), max_size=3)):
            fill(tenant, 1, pages=pages, priority=data.draw(st.integers(-1, 1)))
    for _ in range(data.draw(st.integers(0, 4))):
        if claimed := claim():
            outcomes.answered(claimed, PAGE)
    Lane.objects.update(claimed_at=clock.now() + timedelta(minutes=1))
    template = fill(alice, 1)[0]
    with transaction.atomic():
        queue.withdraw([template])
    if data.draw(st.booleans()):
        TenantQueue.objects.filter(tenant=alice, ready=0).delete()
    pages_of_each = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    planned = [planned_like(template, ordinal, pages) for ordinal, pages in enumerate(pages_of_each, 1)]
    foretold = estimates.forecast(planned)
    Lookup.objects.bulk_create(planned)
    with transaction.atomic():
        queue.enqueue(lane, alice.pk, lookups=len(planned), pending_calls=sum(one.pages for one in planned))
    told = estimates.forecast(Lookup.objects.filter(pk__in=[one.pk for one in planned]))
    transaction.savepoint_rollback(point)
    assert foretold == told
    assert {each.waiting_on for each in told.values()} <= {"turn", "rate"}


def planned_like(template: Lookup, ordinal: int, pages: int) -> Lookup:
    """Returns a lookup that is not written, behind all others of its priority."""
    values = {field.attname: getattr(template, field.attname) for field in Lookup._meta.concrete_fields}
    moment = clock.now()
    own = {"id": uuid7(), "ordinal": ordinal, "pages": pages, "queue_state": QueueState.READY, "created_at": moment}
    return Lookup(**values | own | {"sort_key": queue.sort_key(priority=0, created_at=moment)})


def test_a_lookup_of_many_pages_is_one_in_line_and_many_turns(fill: Fill, alice: Tenant) -> None:
    fill(alice, 1, pages=10)
    [last] = fill(alice, 1)
    estimated = forecast_of(last)
    assert (estimated.position, estimated.calls_before) == (2, 10)


def test_the_next_pages_of_what_is_under_way_are_counted(fill: Fill, claim: Claim, alice: Tenant, bob: Tenant) -> None:
    for tenant in (alice, bob):
        fill(tenant, 1, pages=3)
    [last] = fill(bob, 1)
    assert forecast_of(last).calls_before == 6
    assert claim()
    assert claim()
    assert forecast_of(last).calls_before == 4


def test_a_canceled_lookup_is_not_claimed_again(fill: Fill, claim: Claim, alice: Tenant) -> None:
    [canceled] = fill(alice, 1, pages=5)
    [last] = fill(alice, 1)
    assert claim()
    assert forecast_of(last).calls_before == 4
    Lookup.objects.filter(pk=canceled.pk).update(cancel_requested=True)
    assert forecast_of(last).calls_before == 0


def test_who_sleeps_is_counted_where_it_will_have_woken(
    fill: Fill, claim: Claim, policy: Policy, alice: Tenant, bob: Tenant
) -> None:
    fill(alice, 1, pages=2)
    claimed = claim()
    assert claimed is not None
    outcomes.failed(claimed, policy, Faulty("provider_error", "It failed.", status=500))
    mine = fill(bob, 30)
    assert forecast_of(mine[0]).calls_before == 0
    assert forecast_of(mine[-1]).calls_before == 29 + 2
    Lookup.objects.filter(queue_state=QueueState.DELAYED).update(not_before=clock.now() + timedelta(hours=1))
    assert forecast_of(mine[-1]).calls_before == 29


def test_a_start_is_as_many_intervals_after_the_next_slot(
    fill: Fill, claim: Claim, policy: Policy, alice: Tenant
) -> None:
    fill(alice, 1, pages=4)
    [last] = fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    outcomes.answered(claimed, PAGE)
    start = forecast_of(last).estimated_start_at
    assert start is not None
    assert start == claimed.call.armed_at + timedelta(milliseconds=4 * (1000 + float(policy.guard_ms)))


def test_in_an_idle_lane_the_first_starts_now(fill: Fill, lane: Lane, alice: Tenant) -> None:
    Lane.objects.update(claimed_at=clock.now() - timedelta(minutes=1))
    [first] = fill(alice, 1)
    begin = clock.now()
    start = forecast_of(first).estimated_start_at
    assert start is not None
    assert begin <= start <= clock.now()


@pytest.mark.parametrize("stopped", ["paused_until", "broken_until"])
def test_in_a_paused_lane_estimates_begin_when_it_resumes(fill: Fill, lane: Lane, alice: Tenant, stopped: str) -> None:
    until = clock.now() + timedelta(seconds=40)
    Lane.objects.update(**{stopped: until})
    lookups = fill(alice, 3)
    estimated = [forecast_of(lookup) for lookup in lookups]
    pace = timedelta(seconds=1, milliseconds=float(lane.policy.guard_ms))
    assert [each.estimated_start_at for each in estimated] == [until, until + pace, until + 2 * pace]
    assert {each.waiting_on for each in estimated} == {"provider_backoff"}
    assert 40 < (estimates.lane_state(lane.name, lane.policy).expected_wait_seconds or 0) + 1 < 43


def test_a_delayed_lookup_in_a_paused_lane_starts_no_earlier_than_it_resumes(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant
) -> None:
    [only] = fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    outcomes.failed(claimed, policy, Faulty("provider_error", "It failed.", status=500))
    pauses.throttle_lane(lane.name, seconds=60)
    estimated = forecast_of(only)
    assert estimated.waiting_on == "provider_backoff"
    assert estimated.estimated_start_at == Lane.objects.get().paused_until


def test_a_delayed_lookup_returns_to_a_queue_in_which_others_wait(
    fill: Fill, claim: Claim, policy: Policy, alice: Tenant
) -> None:
    [only] = fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    outcomes.failed(claimed, policy, Faulty("provider_error", "It failed.", status=500))
    for number in range(20):
        fill(Tenant.objects.create(name=f"tenant {number}"), 3)
    # Fixed, however long the rows took to write.
    last_turn = clock.now() + timedelta(minutes=1)
    Lane.objects.update(claimed_at=last_turn)
    estimated = forecast_of(only)
    Lookup.objects.filter(pk=only.pk).update(not_before=clock.now())
    TenantQueue.objects.filter(tenant=alice).update(wake_at=clock.now())
    went_before = [lookup.pk for lookup in turns_taken(claim)].index(only.pk)
    assert went_before >= 20
    pace = timedelta(seconds=1, milliseconds=float(policy.guard_ms))
    assert estimated.estimated_start_at == last_turn + (went_before + 1) * pace


def test_while_a_probe_is_under_way_the_others_wait_for_its_lease_at_the_most(
    fill: Fill, claim: Claim, lane: Lane, alice: Tenant
) -> None:
    fill(alice, 2)
    Lane.objects.update(trips=1)
    probe = claim()
    assert probe is not None
    [waits] = ready()
    estimated = forecast_of(waits)
    assert (estimated.waiting_on, estimated.estimated_start_at) == ("provider_backoff", probe.call.leased_until)


def test_what_operators_stopped_has_no_time(fill: Fill, lane: Lane, policy: Policy, alice: Tenant) -> None:
    [only] = fill(alice, 1)
    pauses.pause(lane)
    assert forecast_of(only) == Forecast(waiting_on="paused")
    assert estimates.lane_state(lane.name, policy).expected_wait_seconds is None


def test_a_suspended_tenants_lookups_say_that_they_are_paused(fill: Fill, alice: Tenant, bob: Tenant) -> None:
    [hers], [his] = fill(alice, 1, pages=7), fill(bob, 1)
    Tenant.objects.filter(pk=alice.pk).update(suspended_at=clock.now())
    assert forecast_of(hers) == Forecast(waiting_on="paused")
    assert (forecast_of(his).position, forecast_of(his).calls_before) == (1, 0)


def test_the_turns_of_a_place_are_those_of_its_lookups(
    fill: Fill, claim: Claim, policy: Policy, lane: Lane, alice: Tenant
) -> None:
    lookups = fill(alice, 3, pages=4)

    def counted() -> tuple[int, int]:
        return TenantQueue.objects.values_list("ready", "pending_calls").get()

    assert counted() == (3, 12)
    claimed = claim()
    assert claimed is not None
    assert counted() == (2, 8)
    outcomes.answered(claimed, PAGE)
    assert counted() == (3, 11)
    with transaction.atomic():
        queue.withdraw(lookups[:1])
    assert counted() == (2, 8)
