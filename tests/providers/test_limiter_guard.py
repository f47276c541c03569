"""Tests how a lane learns the jitter on the way to its provider: a refusal widens its guard, and answered calls narrow it."""

from __future__ import annotations

import time
from itertools import pairwise
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from providers import limiter
from providers.limiter import Rate
from tests.providers.lanes import LoggedLane, a_rate

RATE = a_rate(1, 100, 3)


def left(lane: LoggedLane, *, late: float = 0.0) -> str:
    """Sends a call `late` seconds after its instant, and returns it."""
    token = lane.token()
    token.redeem()
    if late:
        time.sleep(late)
        token.postpone(late)
    return token.call


def refuse(lane: LoggedLane, call: str, who: str = "") -> float | None:
    """Records a refusal. `who`: a key and its tenant, as in "key of tenant"; empty in a lane of one account."""
    key, _, tenant = who.partition(" of ")
    return lane.limiter.record_refusal(call, key=key, tenant=tenant)


def refused(lane: LoggedLane, *who: str) -> list[float | None]:
    """Returns the margins in milliseconds after refusals of calls at the window's edge, each under the guard in force then."""
    margins = []
    for each in who:
        margins.append(refuse(lane, packed(lane)[-1], each))
        lane.set(margin_widened_at=0)
    return margins


def gaps(lane: LoggedLane) -> list[int]:
    return [later - earlier for earlier, later in pairwise(lane.instants())]


def packed(lane: LoggedLane, count: int = 2, *, apart_ms: float | None = None) -> list[str]:
    """Writes calls into the log, as close as the rate allows, and returns them."""
    apart = lane.rate.full_window_us // lane.rate.calls if apart_ms is None else int(apart_ms * 1000)
    begin = lane.now()
    calls = {str(uuid4()): begin + number * apart for number in range(count)}
    lane.redis.zadd(lane.key("log"), calls)
    return list(calls)


def test_a_refusal_at_the_windows_edge_doubles_the_guard_at_once() -> None:
    lane = LoggedLane(RATE)
    *_, refused = packed(lane)
    assert refuse(lane, refused) == 3.0
    left(lane)
    assert gaps(lane)[-1] >= 106_000 - 3
    assert lane.limiter.margin_ms() == pytest.approx(3, rel=0.01)


def test_each_further_refusal_doubles_it_again_up_to_a_twentieth_of_the_window() -> None:
    lane = LoggedLane(RATE)
    _, *calls = packed(lane, 4)
    widened = []
    for call in calls:
        widened.append(refuse(lane, call))
        lane.set(margin_widened_at=0)
    assert widened == [3.0, 5.0, 5.0]


def test_no_guard_at_all_becomes_a_millisecond() -> None:
    lane = LoggedLane(a_rate(1, 100))
    assert refuse(lane, packed(lane)[-1]) == 1.0


def test_refusals_that_come_in_a_bunch_are_one() -> None:
    """All of them left under the guard that was too narrow."""
    lane = LoggedLane(a_rate(3, 300, 3))
    calls = packed(lane, 6)
    time.sleep(0.6)
    assert [refuse(lane, call) for call in calls[3:]] == [3.0, None, None]


@pytest.mark.parametrize("why", ["it kept its distance", "it was the first", "it is unknown"])
def test_a_refusal_for_another_reason_teaches_nothing(why: str) -> None:
    lane = LoggedLane(a_rate(1, 50, 3))
    first, second = packed(lane, apart_ms=60)
    call = {"it kept its distance": second, "it was the first": first, "it is unknown": str(uuid4())}[why]
    assert refuse(lane, call) is None
    assert lane.limiter.margin_ms() == 0


def test_of_many_calls_a_window_the_one_a_window_before_counts() -> None:
    lane = LoggedLane(a_rate(4, 100, 1))
    calls = packed(lane, 6)
    assert [refuse(lane, call) for call in calls[:4]] == [None] * 4
    assert refuse(lane, calls[4]) == 1.0


def test_each_call_narrows_it_by_a_little_and_in_the_end_to_nothing() -> None:
    lane = LoggedLane(a_rate(1, 200, 0))
    lane.set(margin=4096)
    left(lane)
    assert lane.get("margin") == 4094
    lane.set(margin=1)
    left(lane)
    assert lane.get("margin") == 0


@pytest.mark.parametrize(
    ("rate", "late_ms", "margin_us"),
    [(a_rate(1, 1000, 3), 3, 1500), (a_rate(1, 1000, 3), 40, 2000), (a_rate(1, 1000, 1), 40, 1000), (RATE, 40, 200)],
)
def test_what_is_late_here_may_be_late_on_the_way_and_widens_it_by_half_within_two_thousandths(
    rate: Rate, late_ms: float, margin_us: int
) -> None:
    lane = LoggedLane(rate)
    left(lane, late=late_ms / 1000)
    assert lane.get("margin") == margin_us


def test_it_is_kept_over_a_pause_and_over_a_policy_that_changes() -> None:
    lane = LoggedLane(RATE)
    lane.set(margin=4000)
    lane.pause(0.01)
    wider = lane.under(a_rate(1, 100, 10))
    wider.pause(0)
    assert lane.limiter.margin_ms() == 4.0
    left(wider), left(wider)
    assert gaps(wider)[-1] >= 113_900


def test_a_shorter_window_bounds_it_anew() -> None:
    lane = LoggedLane(a_rate(1, 1000))
    lane.set(margin=40_000)
    shorter = lane.under(a_rate(1, 100))
    left(shorter)
    assert lane.get("margin") < 5000


# Whose refusals count

SECOND = a_rate(1, 1000, 3)


def test_a_key_by_itself_widens_it_a_little_however_often_it_is_refused() -> None:
    """The key's account may be used elsewhere too, so that it is answered and refused in turn. Other keys would pay for that."""
    lane = LoggedLane(SECOND)
    assert refused(lane, *["k of a"] * 5) == [2.0] * 5
    most_us = lane.get("margin") + lane.rate.guard_us
    assert most_us <= lane.rate.window_us * 0.005


@pytest.mark.parametrize("other", ["another of a", "k of b"])
def test_two_keys_of_a_tenant_and_one_of_two_tenants_are_one(other: str) -> None:
    assert refused(LoggedLane(SECOND), "k of a", other, "k of a", other) == [2.0] * 4


def test_keys_of_two_tenants_double_the_guard() -> None:
    assert refused(LoggedLane(SECOND), "k of a", "l of b", "k of a", "l of b") == [2.0, 7.0, 17.0, 37.0]


def test_after_two_have_agreed_one_alone_keeps_it_up_and_widens_it_no_further() -> None:
    lane = LoggedLane(SECOND)
    refused(lane, "k of a", "l of b")
    lane.set(margin=1000)
    assert refused(lane, *["l of b"] * 3) == [5.0, 7.0, 7.0]


@pytest.mark.parametrize(("seconds", "margin_ms"), [(2.1, 0.2), (0.2, 1.0)])
def test_refusals_that_are_two_thousand_calls_apart_do_not_agree(seconds: float, margin_ms: float) -> None:
    lane = LoggedLane(a_rate(100, 100))
    assert refuse(lane, packed(lane, 101)[-1], "k of a") == 0.2
    time.sleep(seconds)
    assert refuse(lane, packed(lane, 101)[-1], "l of b") == margin_ms


def test_a_key_that_makes_all_calls_teaches_up_to_a_hundredth_and_one_call_of_another_ends_that() -> None:
    lane = LoggedLane(a_rate(1, 20))
    for number in range(101):
        token = lane.token()
        token.key = "k" if number else "l"
        token.redeem()
    assert lane.get("calls_in_a_row") == 100
    slower = lane.under(SECOND)
    assert refused(slower, *["k of a"] * 4) == [3.0, 9.0, 10.0, 10.0]
    lane.token().redeem()
    assert lane.get("calls_in_a_row") == 1


def test_a_lane_of_one_account_teaches_itself() -> None:
    assert refused(LoggedLane(SECOND), "", "", "", "", "") == [3.0, 9.0, 21.0, 45.0, 50.0]


def test_without_redis_the_learned_guard_is_unavailable(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1"
    with pytest.raises(limiter.Unavailable):
        LoggedLane(new=True).limiter.margin_ms()


@hypothesis.settings(max_examples=10, deadline=None)
@given(
    rate=st.builds(a_rate, calls=st.integers(1, 3), window_ms=st.integers(20, 60), guard_ms=st.sampled_from((0, 1, 3))),
    steps=st.lists(st.tuples(st.sampled_from((0.0, 0.0, 0.004)), st.booleans()), min_size=4, max_size=10),
)
def test_whatever_it_has_learned_no_two_windows_of_calls_are_closer_than_window_and_guard(
    rate: Rate, steps: list[tuple[float, bool]]
) -> None:
    lane = LoggedLane(rate)
    most = min(rate.window_us // 20, 50_000)
    for late, refused in steps:
        call = left(lane, late=late)
        if refused:
            refuse(lane, call)
        assert 0 <= lane.get("margin") <= most
    instants = lane.instants()
    for first, after in zip(instants, instants[rate.calls :], strict=False):
        assert after - first >= rate.full_window_us


def test_a_key_that_rests_makes_no_call_and_others_do() -> None:
    lane = LoggedLane(a_rate(1, 20))
    lane.limiter.rest_key("hers", seconds=30)
    hers, his = lane.token(), lane.token()
    hers.key, his.key = "hers", "his"
    with pytest.raises(limiter.TokenRefused):
        hers.redeem()
    his.redeem()
    lane.limiter.end_rests()
    hers.redeem()
    assert list(lane.log()) == [his.call, hers.call]


def test_of_two_rests_of_a_key_the_longer_holds_and_one_that_is_over_is_forgotten() -> None:
    lane = LoggedLane(a_rate(1, 20))
    for key, seconds in (("hers", 0.2), ("hers", 0.01), ("his", 0.01)):
        lane.limiter.rest_key(key, seconds=seconds)
    token = lane.token()
    token.key = "hers"
    with pytest.raises(limiter.TokenRefused):
        token.redeem()
    time.sleep(0.25)
    token.redeem()
