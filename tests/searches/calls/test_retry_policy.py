"""The table of verdicts on failures."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.failures import BadCredential, Exhausted, Failure, Faulty, Garbled, Lost, Refused, Throttled, Unreachable
from searches.calls import retry_policy
from searches.calls.retry_policy import BackOff, Block, Fail, Retry, Unknown, Verdict
from searches.lanes.backoff import backoff


def decide(failure: Failure, *, attempts: int = 0, allowed: int = 4, throttled: int = 0) -> Verdict:
    return retry_policy.decide(failure, attempts=attempts, allowed=allowed, throttled=throttled)


def garbled(status: int | None, billed: int | None) -> Garbled:
    return Garbled("unreadable_answer", "…", status=status, billed_results=billed)


@pytest.mark.parametrize(
    ("failure", "verdict"),
    [
        (Lost("no_answer", "…"), Unknown()),
        (Refused("refused", "…"), Fail()),
        (BadCredential("credential_invalid", "…"), Block()),
        (Exhausted("credential_exhausted", "…"), Block()),
        (Throttled("rate_limited", "…", retry_after=17.5), BackOff(seconds=17.5)),
        (Throttled("rate_limited", "…", retry_after=0), BackOff(seconds=0)),
        (garbled(200, 7), Fail(answered=True, billed_results=7)),
        (garbled(200, 0), Fail(answered=True, billed_results=0)),
        (garbled(201, None), Fail(answered=True, billed_results=None)),
        (garbled(404, None), Fail()),
        (garbled(500, 7), Fail()),
        (garbled(None, None), Fail()),
    ],
    ids=repr,
)
def test_these_verdicts_do_not_depend_on_earlier_attempts(failure: Failure, verdict: Verdict) -> None:
    for attempts, throttled in product((0, 1, 100), repeat=2):
        assert decide(failure, attempts=attempts, throttled=throttled) == verdict


@pytest.mark.parametrize("kind", [Unreachable, Faulty])
@pytest.mark.parametrize(
    ("attempts", "allowed", "again"),
    [(0, 4, True), (2, 4, True), (3, 4, False), (4, 4, False), (0, 2, True), (1, 2, False), (0, 1, False)],
)
def test_a_temporary_failure_is_retried_as_often_as_the_policy_allows(
    kind: type[Failure], attempts: int, allowed: int, again: bool
) -> None:
    verdict = decide(kind("provider_error", "…"), attempts=attempts, allowed=allowed)
    assert isinstance(verdict, Retry if again else Fail)
    assert again or verdict == Fail()


@pytest.mark.parametrize(("times", "seconds"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 8), (100_000, 8)])
def test_the_delay_doubles_with_each_failure_up_to_eight_seconds(times: int, seconds: float) -> None:
    faulty = decide(Faulty("provider_error", "…"), attempts=times, allowed=times + 2)
    throttled = decide(Throttled("rate_limited", "…"), throttled=times)
    assert isinstance(faulty, Retry)
    assert isinstance(throttled, BackOff)
    assert faulty.after == pytest.approx(seconds, rel=0.1)
    assert throttled.seconds == pytest.approx(seconds, rel=0.1)


def test_lanes_that_failed_together_try_again_at_different_times() -> None:
    assert len({backoff(0) for _ in range(10)}) > 1


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_no_provider_pauses_a_lane_for_longer_than_an_hour(named: float) -> None:
    verdict = decide(Throttled("rate_limited", "…", retry_after=named))
    assert verdict == BackOff(seconds=min(named, 3600))
