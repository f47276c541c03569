"""Samples say how many lookups wait and run in a lane, and how long the oldest has waited; a minute without one stays unknown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from accounts import clock
from accounts.models import Tenant
from accounts.rollups import HOUR, MINUTE, floor
from searches.lanes import queue
from searches.lanes.queue import ClaimedLookup
from searches.models import Lane, LaneMinute, Lookup, SampledMinute
from searches.rollups import lane_calls, lane_history, lane_samples
from searches.rollups.lane_history import Point
from tests.racing import at_once
from tests.searches.conftest import Fill


def test_waiting_and_running_lookups_are_sampled(
    lane: Lane, fill: Fill, alice: Tenant, bob: Tenant, claim: Callable[[], ClaimedLookup | None]
) -> None:
    fill(alice, 3)
    fill(bob, 2)
    claim()
    lane_samples.take()
    minute = LaneMinute.objects.get()
    assert (minute.lane_id, minute.waiting, minute.running, minute.calls) == (lane.pk, 4, 1, 0)


@pytest.mark.parametrize("priority", [-10, 0, 10])
def test_the_oldest_lookup_counts_whatever_its_priority(fill: Fill, alice: Tenant, bob: Tenant, priority: int) -> None:
    fill(bob, 1)
    [oldest] = fill(alice, 1, priority=priority)
    fill(alice, 2, priority=10)
    fill(alice, 2, priority=-10)
    moment = clock.now() - timedelta(hours=3)
    Lookup.objects.filter(pk=oldest.pk).update(sort_key=queue.sort_key(priority=priority, created_at=moment))
    lane_samples.take()
    assert LaneMinute.objects.get().oldest_at == moment


def test_a_lane_that_has_emptied_is_empty_in_the_next_sample(lane: Lane, fill: Fill, alice: Tenant) -> None:
    lookups = fill(alice, 2)
    lane_samples.take()
    queue.withdraw(lookups)
    lane_samples.take()
    # A minute may have begun between the two.
    assert LaneMinute.objects.filter(waiting__isnull=False).count() == SampledMinute.objects.count() - 1


def test_a_minute_without_a_sample_is_unknown(lane: Lane, fill: Fill, alice: Tenant) -> None:
    fill(alice, 2)
    lane_samples.take()
    SampledMinute.objects.update(start=floor(clock.now(), MINUTE) - 2 * MINUTE)
    LaneMinute.objects.update(start=floor(clock.now(), MINUTE) - 2 * MINUTE)
    points = lane_history.load([lane.pk], HOUR).points(lane.pk, step=MINUTE)
    assert [point.waiting for point in points] == [None] * 58 + [2, None]


def test_a_lane_without_lookups_has_none_in_a_sampled_minute(lane: Lane) -> None:
    SampledMinute.objects.create(start=floor(clock.now(), MINUTE) - MINUTE, sampled_at=clock.now())
    point: Point = lane_history.load([lane.pk], HOUR).points(lane.pk, step=MINUTE)[-1]
    assert (point.waiting, point.running, point.oldest_seconds) == (0, 0, None)


def test_calls_and_samples_leave_each_other_alone(fill: Fill, alice: Tenant) -> None:
    fill(alice, 2)
    lane_samples.take()
    lane_calls.roll_up(seconds=60)
    assert [row.waiting for row in LaneMinute.objects.all()] == [2]


@pytest.mark.django_db(transaction=True)
def test_two_that_sample_at_once_keep_one_sample(fill: Fill, alice: Tenant) -> None:
    fill(alice, 2)
    at_once([lane_samples.take] * 4 + [lambda: lane_calls.roll_up(seconds=60)])
    assert {row.waiting for row in LaneMinute.objects.all()} == {2}
