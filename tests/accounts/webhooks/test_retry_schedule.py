"""When a delivery is tried again, as a table."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.webhooks import retry_schedule

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = 3600.0


@pytest.mark.parametrize(
    ("tries", "seconds"),
    [(1, 5), (2, 300), (3, 1800), (4, 2 * HOUR), (5, 5 * HOUR), (6, 10 * HOUR), (7, 14 * HOUR), (8, 20 * HOUR)],
)
def test_the_pauses_grow_and_are_never_quite_the_same(tries: int, seconds: float) -> None:
    pauses = {retry_schedule.pause(tries) for _ in range(50)}
    assert len(pauses) > 40
    assert all(pause is not None and 0.9 * seconds <= pause <= 1.1 * seconds for pause in pauses)


def test_the_tenth_try_is_the_last() -> None:
    assert retry_schedule.pause(9) is not None
    assert retry_schedule.pause(10) is None
    assert retry_schedule.pause(10, asked=HOUR) is None


def test_a_deployment_may_have_pauses_of_its_own(settings: Settings) -> None:
    settings.WEBHOOK_PAUSES = [0.0]
    assert (retry_schedule.pause(1), retry_schedule.pause(2)) == (0.0, None)


def test_what_the_endpoint_asks_for_counts_where_it_is_longer() -> None:
    assert retry_schedule.pause(1, asked=60.0) == 60.0
    assert (retry_schedule.pause(3, asked=60.0) or 0) > 1000


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("", 0),
        ("7", 7),
        (" 120 ", 120),
        ("999999999999999999999999", 24 * HOUR),
        ("-5", 0),
        ("1.5", 1.5),
        ("soon", 0),
        ("٧", 0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30),
        ("Fri, 20 Nov 2026 12:00:30 -0000", 30),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 24 * HOUR),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Fri, 20 Nov 99999999999999999999 12:00:00 GMT", 0),
        ("Fri, 20 Nov 2026 12:00:00 +99999999999999999999", 0),
        ("Fri, 20 Nov 2099 12:00:00 GMT", 24 * HOUR),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_and_bounded(said: str, seconds: float) -> None:
    assert retry_schedule.asked(httpx.Headers({b"Retry-After": said.encode()}), now=NOW) == seconds


@given(st.text(), st.text())
def test_any_retry_after_is_between_zero_and_a_day(said: str, date: str) -> None:
    headers = httpx.Headers({b"Retry-After": said.encode(), b"Date": date.encode()})
    assert 0 <= retry_schedule.asked(headers, now=NOW) <= 24 * HOUR


def test_a_schedule_can_end_earlier() -> None:
    assert retry_schedule.pause(2, most=3) is not None
    assert retry_schedule.pause(3, most=3) is None
