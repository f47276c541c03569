"""A peer's times are waits by its own clock, whatever ours shows."""

from __future__ import annotations

import time

import httpx
import pytest

from accounts.net import peer_clock

# `Retry-After` and `Date` of an answer, and the seconds to wait that they mean.
TOLD = [
    ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
    ("Wed, 21 Oct 2099 07:28:30 GMT", "Wed, 21 Oct 2099 07:28:00 GMT", 30.0),
    ("Thu, 01 Jan 1970 00:00:30 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", 30.0),
    ("Wednesday, 21-Oct-26 07:28:30 GMT", "Wed Oct 21 07:28:00 2026", 30.0),
    ("Wed, 21 Oct 2026 09:28:30 +0200", "Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
    ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:30 GMT", 0.0),
    ("Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", peer_clock.MOST_SECONDS),
    ("30", "Thu, 01 Jan 1970 00:00:00 GMT", 30.0),
    ("0.25", "", 0.25),
    ("-3", "", 0.0),
    ("9" * 200, "", peer_clock.MOST_SECONDS),
    ("9" * 5000, "", None),
    ("inf", "", None),
    ("nan", "", None),
    ("1e3", "", None),
    ("1_000", "", None),
    ("0x10", "", None),
    ("soon", "Wed, 21 Oct 2026 07:28:00 GMT", None),
    ("", "", None),
]


@pytest.mark.parametrize(("said", "date", "seconds"), TOLD)
def test_a_wait_is_counted_from_the_peers_own_date(said: str, date: str, seconds: float | None) -> None:
    assert peer_clock.seconds_to_wait(httpx.Headers({"Retry-After": said, "Date": date})) == seconds


@pytest.mark.parametrize("date", ["", "unknown", "Wed, 99 Oct 2026 07:28:00 GMT"])
def test_a_date_is_read_by_our_clock_if_the_answer_has_no_date(date: str) -> None:
    headers = httpx.Headers({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": date})
    assert peer_clock.seconds_to_wait(headers, now=1_792_567_680.0) == 30.0
    long_ago = httpx.Headers({"Retry-After": "Thu, 01 Jan 1970 00:00:30 GMT"})
    assert time.time() > 30
    assert peer_clock.seconds_to_wait(long_ago) == 0.0


def test_the_longest_of_several_counts() -> None:
    headers = httpx.Headers([("Retry-After", "5"), ("Retry-After", "soon"), ("Retry-After", "30")])
    assert peer_clock.seconds_to_wait(headers) == 30.0
    assert peer_clock.seconds_to_wait(httpx.Headers()) is None
