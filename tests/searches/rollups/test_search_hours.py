"""Searches are counted by the hour of their submit, and by what became of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from accounts import clock
from accounts.models import RollupProgress, Tenant
from accounts.rollups import HOUR, floor
from searches.models import Search, SearchHour
from searches.rollups import search_hours
from tests.racing import at_once
from tests.searches.rollups.conftest import submitted


def count() -> None:
    search_hours.roll_up(seconds=60)


def test_each_status_has_its_column(alice: Tenant, noon: datetime) -> None:
    for number, status in enumerate(search_hours.ENDS, start=1):
        for _ in range(number):
            submitted(noon, alice, status)
    for status in ("queued", "running"):
        submitted(noon, alice, status)
    submitted(noon, alice, "failed", mode="test")
    count()
    live = SearchHour.objects.get(mode="live")
    assert [getattr(live, status) for status in (*search_hours.ENDS, "open")] == [1, 2, 3, 4, 5, 2]
    assert SearchHour.objects.get(mode="test").failed == 1
    count()
    assert SearchHour.objects.count() == 2


def test_an_open_search_is_counted_anew_when_it_has_ended(alice: Tenant, noon: datetime) -> None:
    search = submitted(noon - timedelta(days=2), alice, "queued")
    count()
    Search.objects.filter(pk=search.pk).update(status="expired")
    count()
    hour = SearchHour.objects.get()
    assert (hour.open, hour.expired) == (0, 1)


def test_hours_with_open_searches_take_turns(alice: Tenant, noon: datetime) -> None:
    for hours in range(2, 8):
        submitted(noon - hours * HOUR, alice, "queued")
    count()
    Search.objects.update(status="canceled")
    for _ in range(4):
        count()
    assert not SearchHour.objects.filter(open__gt=0).exists()


@pytest.mark.django_db(transaction=True)
def test_two_that_count_at_once_double_nothing(alice: Tenant, noon: datetime) -> None:
    for hours in range(5):
        submitted(noon + hours * HOUR, alice, "succeeded")
    at_once([count] * 4)
    count()
    assert [hour.succeeded for hour in SearchHour.objects.all()] == [1] * 5


def test_the_first_run_looks_back_a_week(alice: Tenant) -> None:
    begins = floor(clock.now() - timedelta(days=7), HOUR)
    submitted(begins - HOUR, alice, "failed")
    submitted(begins + HOUR, alice, "failed")
    count()
    assert SearchHour.objects.get().start == begins + HOUR
    assert RollupProgress.objects.get().since == begins
