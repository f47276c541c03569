"""Calls are counted by minute, hour and tenant: exactly, however often, late or from how many workers at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts import clock
from accounts.models import RollupProgress, Tenant
from accounts.rollups import HOUR, MINUTE, floor
from searches.models import Call, Lane, LaneHour, LaneMinute, LaneShare, Lookup
from searches.rollups import lane_calls, lane_history
from tests.racing import at_once
from tests.searches.conftest import Fill
from tests.searches.rollups.conftest import Made, id_of


def count(*, until_caught_up: bool = True) -> None:
    lane_calls.roll_up(seconds=60 if until_caught_up else 0)


def kept() -> list[dict[str, Any]]:
    """Returns all that was counted, without the moment at which it was."""
    return [
        row
        for model in (LaneMinute, LaneHour, LaneShare)
        for row in model.objects.order_by("lane", "start").values(
            *{field.name for field in model._meta.fields} - {"id", "counted_at"}
        )
    ]


def test_calls_are_counted_by_the_minute_in_which_they_were_sent(call: Made, noon: datetime, lane: Lane) -> None:
    call(noon)
    call(noon + timedelta(seconds=59))
    call(noon + timedelta(seconds=60))
    count()
    assert list(LaneMinute.objects.order_by("start").values_list("lane", "start", "calls")) == [
        (lane.pk, noon, 2),
        (lane.pk, noon + MINUTE, 1),
    ]
    assert LaneHour.objects.get().calls == 3


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ({}, {"answered": 1, "sent": 1}),
        ({"state": "failed", "status": 429, "error_code": "rate_limited"}, {"refusals": 1, "sent": 1}),
        ({"state": "failed", "status": 200, "error_code": "rate_limited"}, {"refusals": 1, "sent": 1}),
        ({"state": "failed", "status": 500, "error_code": "provider_error"}, {"failures": 1, "sent": 1}),
        ({"state": "failed", "sent_at": None, "error_code": "unreachable"}, {"failures": 1, "unsent": 1}),
        ({"state": "unknown", "sent_at": None}, {"unknown": 1, "sent": 1}),
    ],
)
def test_each_outcome_has_its_column(
    call: Made, noon: datetime, lane: Lane, values: dict[str, Any], counted: dict[str, int]
) -> None:
    call(noon, **values)
    count()
    calls = lane_history.total(lane_history.load([lane.pk], 6 * HOUR).points(lane.pk, step=HOUR))
    names = ("answered", "refusals", "failures", "unknown", "unsent", "sent")
    assert {name: getattr(calls, name) for name in names} == dict.fromkeys(names, 0) | counted


def test_a_call_under_way_is_not_counted_before_it_has_ended(call: Made, noon: datetime) -> None:
    late = call(noon, state="armed", sent_at=None, finished_at=None)
    call(noon + MINUTE)
    count()
    assert LaneHour.objects.get().calls == 1
    # The sweep settles it hours later.
    Call.objects.filter(pk=late.pk).update(state="unknown")
    count()
    assert LaneHour.objects.get().calls == 2
    assert LaneMinute.objects.get(start=noon).unknown == 1


def test_counting_twice_changes_nothing(call: Made, noon: datetime) -> None:
    for minute in range(0, 120, 7):
        call(noon + minute * MINUTE, ms=100 * minute)
    count()
    before = kept()
    count()
    RollupProgress.objects.update(until=noon)
    count()
    assert kept() == before


@pytest.mark.django_db(transaction=True)
def test_workers_that_count_at_once_count_no_call_twice(call: Made, noon: datetime) -> None:
    for minute in range(0, 120, 7):
        call(noon + minute * MINUTE)
        call(clock.now())
    count()
    before = kept()
    for model in (LaneMinute, LaneHour, LaneShare, RollupProgress):
        model.objects.all().delete()
    at_once([count] * 4)
    count()
    assert kept() == before


def test_a_worker_that_was_away_counts_the_hours_that_it_missed(call: Made, noon: datetime) -> None:
    call(noon)
    count()
    RollupProgress.objects.update(until=noon - 20 * HOUR)
    for model in (LaneMinute, LaneHour, LaneShare):
        model.objects.all().delete()
    count(until_caught_up=False)
    assert RollupProgress.objects.get().until < noon
    count()
    assert LaneMinute.objects.get().start == LaneHour.objects.get().start == noon


def test_what_was_not_counted_yet_is_unknown_and_not_nothing(call: Made, noon: datetime, lane: Lane) -> None:
    def known() -> list[int | None]:
        points = lane_history.load([lane.pk], 6 * HOUR).points(lane.pk, step=HOUR)
        return [point.calls.calls if point.calls else None for point in points if noon <= point.start < noon + 4 * HOUR]

    call(noon)
    assert known() == [None] * 4
    count()
    assert known() == [1, 0, 0, 0]
    RollupProgress.objects.update(until=noon + 2 * HOUR)
    assert known() == [1, 0, None, None]
    RollupProgress.objects.update(since=noon + HOUR)
    assert known() == [None, 0, None, None]


def test_a_worker_that_was_away_for_longer_than_minutes_are_kept_still_counts_whole_hours(
    call: Made, noon: datetime
) -> None:
    then = noon - timedelta(days=3)
    count()
    RollupProgress.objects.update(since=then, until=then)
    for minute in range(60):
        call(then + minute * MINUTE)
    count()
    assert LaneHour.objects.get().calls == 60
    assert not LaneMinute.objects.exists()


def test_minutes_are_deleted_after_two_days_and_hours_are_kept(call: Made, noon: datetime) -> None:
    old = floor(clock.now(), HOUR) - lane_calls.MINUTES_KEPT
    count()
    RollupProgress.objects.update(since=old - 2 * HOUR, until=old - 2 * HOUR)
    call(old - HOUR)
    call(old + HOUR)
    count()
    assert [row.start for row in LaneMinute.objects.all()] == [old + HOUR]
    assert LaneHour.objects.count() == 2
    assert not LaneShare.objects.exists()


def test_a_lookup_in_another_lane_takes_its_last_calls_with_it(call: Made, lookup: Lookup, lane: Lane) -> None:
    call(clock.now())
    count()
    Lane.objects.create(name="modash:another", policy=lane.policy, mode=lane.mode)
    Lookup.objects.update(lane="modash:another")
    count()
    assert list(LaneHour.objects.filter(calls__gt=0).values_list("lane", flat=True)) == ["modash:another"]
    assert LaneMinute.objects.filter(lane=lane, calls__gt=0).count() == 0
    assert LaneShare.objects.get().lane_id == "modash:another"


def test_shares_say_who_used_a_lane(call: Made, fill: Fill, bob: Tenant, lookup: Lookup, lane: Lane) -> None:
    [bobs] = fill(bob, 1)
    for _ in range(3):
        call(clock.now() - timedelta(minutes=20), of=bobs)
    call(clock.now())
    call(clock.now(), state="failed", sent_at=None)
    count()
    assert lane_history.shares(lane.pk, HOUR) == [(bob.pk, 3), (lookup.tenant_id, 1)]


@pytest.mark.parametrize(("ms", "low", "high"), [(40, 0, 100), (640, 500, 750), (45_000, 30_000, 30_000)])
def test_latency_is_known_within_its_class(
    call: Made, noon: datetime, lane: Lane, ms: int, low: int, high: int
) -> None:
    for _ in range(20):
        call(noon, ms=ms)
    count()
    calls = lane_history.total(lane_history.load([lane.pk], 6 * HOUR).points(lane.pk, step=HOUR))
    assert low <= (calls.latency_ms(0.5) or 0) <= (calls.latency_ms(0.95) or 0) <= high


def test_a_lane_without_answers_has_no_latency(lane: Lane) -> None:
    assert lane_history.CallCounts().latency_ms(0.5) is None


def test_the_clock_of_a_worker_may_be_minutes_off(call: Made, noon: datetime) -> None:
    for minutes in (-9, 9):
        call(noon, id=id_of(noon + minutes * MINUTE))
    count()
    assert LaneMinute.objects.get().calls == 2


def test_a_caught_up_run_reads_no_older_call(call: Made, noon: datetime) -> None:
    call(noon)
    count()
    LaneHour.objects.update(calls=F("calls") + 100)
    with CaptureQueriesContext(connection) as captured:
        count()
    assert LaneHour.objects.get().calls == 101
    assert len(captured) <= 20
