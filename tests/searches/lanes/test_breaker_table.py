"""The breaker as a table: which failures count, and when so many open it and for how long."""

from __future__ import annotations

from uuid import UUID

import pytest

from providers.failures import (
    BadCredential,
    Duplicate,
    Exhausted,
    Failure,
    Faulty,
    Garbled,
    Lost,
    Refused,
    Throttled,
    Unreachable,
)
from searches.lanes import breaker
from searches.lanes.breaker import Count

pytestmark = pytest.mark.django_db


def after(keys: str, *, since: Count | None = None, probes: bool = False) -> tuple[Count, float]:
    """Returns the count after a failure with each of the keys, one letter each, and the pause after the last. Each key is a
    tenant's own, but for a and A: one tenant has both.
    """
    count, seconds = since or Count(), 0.0
    for key in keys:
        tenant = UUID(int=ord(key.lower()))
        count, seconds = breaker.failed(count, key=key, tenant=tenant, is_probe=probes)
    return count, seconds


@pytest.mark.parametrize(
    ("keys", "opens"),
    [
        ("a", False),
        ("abab", False),
        ("aaaaa", False),
        ("aaaaaaaaaaaaaaaaaaaa", False),
        ("ababa", True),
        ("abcde", True),
        ("aaaab", True),
        ("baaaa", True),
        ("aaaaaaaaaaaaaaaaaaaab", True),
        ("aAaAaAaAaAaAaAaAaAaA", False),
        ("aAaAb", True),
    ],
)
def test_five_failures_in_a_row_of_at_least_two_tenants_keys_open_it(keys: str, opens: bool) -> None:
    count, seconds = after(keys)
    assert (count.trips, seconds) == ((1, 15) if opens else (0, 0))


@pytest.mark.parametrize(
    ("trips", "seconds"), [(0, 15), (1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (6, 300), (10_000, 300)]
)
def test_each_probe_that_fails_opens_it_for_twice_as_long_up_to_five_minutes(trips: int, seconds: float) -> None:
    before = Count(failures=4, key="a", several=True) if not trips else Count(trips=min(trips, 1000))
    assert after("b", since=before, probes=True)[1] == seconds


def test_what_was_under_way_when_it_opened_opens_it_no_further() -> None:
    opened, _ = after("aaaab")
    assert after("abcabc", since=opened) == (opened, 0)


@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (Unreachable("unreachable", "…"), True),
        (Faulty("provider_error", "…"), True),
        (Duplicate("duplicate_request", "…"), False),
        (Lost("no_answer", "…"), True),
        (Throttled("rate_limited", "…"), False),
        (Refused("refused", "…"), False),
        (Garbled("unreadable_answer", "…"), False),
        (BadCredential("credential_invalid", "…"), False),
        (Exhausted("credential_exhausted", "…"), False),
    ],
    ids=repr,
)
def test_what_the_provider_does_counts_and_what_it_says_does_not(failure: Failure, counts: bool) -> None:
    assert breaker.is_theirs(failure) is counts
