"""Tests a lane's limit by its log in Redis: how many calls leave in any window, whatever workers, restarts and stalls do."""

from __future__ import annotations

import sys
import time
from functools import partial
from itertools import pairwise
from math import ceil

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from providers import limiter
from providers.limiter import Rate, SendOutcome, Token, TokenRefused
from tests.providers.lanes import LoggedLane, a_rate, slow_answers
from tests.racing import at_once

RATES = st.builds(
    a_rate,
    calls=st.integers(1, 6),
    window_ms=st.integers(10, 60),
    guard_ms=st.sampled_from((0, 0.5, 3)),
)
# The delays of a worker, in parts of a window.
DELAYS = st.lists(st.sampled_from((0.0, 0.0, 0.1, 0.6, 1.1)), min_size=2, max_size=4)


def assert_kept(lane: LoggedLane) -> None:
    """Asserts at most N calls in any window and guard, and late slots made up for at 1.25 times the rate at most."""
    interval = ceil(lane.rate.full_window_us / lane.rate.calls)
    assert_window_kept(lane)
    assert all(later - earlier >= interval * 0.8 for earlier, later in pairwise(lane.instants()))


def assert_window_kept(lane: LoggedLane) -> None:
    instants, rate = lane.instants(), lane.rate
    for first, after in zip(instants, instants[rate.calls :], strict=False):
        assert after - first >= rate.full_window_us


def is_sent(token: Token) -> bool:
    try:
        token.redeem()
    except TokenRefused:
        return False
    return True


# When a call may leave


@pytest.mark.parametrize("rate", [a_rate(1, 20, 1), a_rate(5, 100), a_rate(20, 1000, 2)], ids=str)
def test_many_workers_race_and_none_breaks_the_limit(rate: Rate) -> None:
    """A call that is refused is made again under another name, as a worker's next visit would."""
    lane = LoggedLane(rate)

    def send() -> bool:
        return any(is_sent(lane.token()) for _ in range(20))

    assert all(at_once([send] * 40))
    assert len(lane.instants()) == 40
    assert_kept(lane)


def test_a_lane_faster_than_its_workers_can_be_on_time_keeps_its_limit() -> None:
    """Forty threads of one process are late for 5 ms slots. Some give up, and none comes too close."""
    lane = LoggedLane(a_rate(20, 100, 2))
    sent = at_once([partial(is_sent, lane.token()) for _ in range(40)])
    assert len(lane.instants()) == sum(sent) > 0
    assert_kept(lane)


@hypothesis.settings(max_examples=15, deadline=None)
@given(rate=RATES, workers=st.lists(DELAYS, min_size=2, max_size=4), late=st.sampled_from((0.0, 0.1, 0.5)))
def test_whatever_workers_do_the_limit_holds(rate: Rate, workers: list[list[float]], late: float) -> None:
    lane = LoggedLane(rate)
    window = rate.full_window_us / 1_000_000

    def work(delays: list[float]) -> int:
        sent = 0
        for delay in delays:
            time.sleep(delay * window)
            token = lane.token()
            sent += is_sent(token)
            time.sleep(late * window)
            token.postpone(late * window)
        return sent

    assert sum(at_once([partial(work, delays) for delays in workers])) == len(lane.instants())
    # A call that left late may be close to the next one, which had left before anyone knew.
    assert_window_kept(lane) if late else assert_kept(lane)


@pytest.mark.parametrize("rate", [a_rate(1, 30), a_rate(10, 100)], ids=str)
def test_idle_time_saves_no_credit(rate: Rate) -> None:
    lane = LoggedLane(rate)
    lane.token().redeem()
    time.sleep(2 * rate.full_window_us / 1_000_000)
    begin = lane.now()
    for _ in range(12):
        lane.waiter().acquire()
        lane.token().redeem()
    interval = ceil(rate.full_window_us / rate.calls)
    assert all(instant >= begin + number * interval for number, instant in enumerate(lane.instants()[1:]))


@pytest.mark.parametrize("calls", [2, 10])
def test_a_late_slot_leaves_those_after_it_where_they_were(calls: int) -> None:
    lane = LoggedLane(a_rate(calls, 10_000))
    due = lane.now() - 1_500_000
    lane.set(next_free=due)
    lane.token().redeem()
    assert lane.get("next_free") == due + 10_000_000 // calls


def test_leave_that_is_given_ahead_keeps_the_slots_after_it_where_they_were() -> None:
    lane = LoggedLane(a_rate(1, 1000))
    token, other = lane.token(), lane.waiter()
    lane.set(next_free=lane.now() + 2000)
    while not token.waiter.redeem(token.call)[0]:
        pass
    other.release()
    assert lane.get("next_free") == lane.instants()[0] + 1_000_000


def test_a_slot_later_than_a_quarter_of_the_window_is_void() -> None:
    lane = LoggedLane(a_rate(10, 1000))
    lane.set(next_free=lane.now() - 5_000_000)
    lane.token().redeem()
    assert lane.get("next_free") == lane.instants()[0] + 100_000 - 250_000


def test_with_one_call_a_window_nothing_is_made_up() -> None:
    lane = LoggedLane(a_rate(1, 50))
    lane.set(next_free=lane.now() - 20_000)
    lane.token().redeem()
    assert lane.get("next_free") == lane.instants()[0] + 50_000


def test_a_stricter_rate_holds_from_the_next_call_on() -> None:
    lane = LoggedLane(a_rate(10, 100))
    for _ in range(5):
        lane.token().redeem()
    stricter = lane.under(a_rate(2, 200))
    stricter.token().redeem()
    *_, second_last, _, new = stricter.instants()
    assert new - second_last >= 200_000


def test_a_rate_that_was_raised_is_in_force_at_once() -> None:
    lane = LoggedLane(a_rate(1, 3_600_000))
    lane.token().redeem()
    raised = lane.under(a_rate(10, 100))
    raised.token().redeem()
    assert len(raised.instants()) == 2
    assert_kept(raised)


def test_a_rate_that_was_raised_does_not_end_a_pause() -> None:
    lane = LoggedLane(a_rate(1, 60_000))
    lane.pause(60)
    assert (lane.under(a_rate(10, 100)).waiter().acquire() or 0) > 50


def test_a_window_of_an_hour_remembers_an_hour() -> None:
    lane = LoggedLane(a_rate(3, 3_600_000))
    for call, minutes_ago in (("first", 50), ("second", 25)):
        lane.redis.zadd(lane.key("log"), {call: lane.now() - minutes_ago * 60_000_000})
    lane.token("third").redeem()
    assert set(lane.log()) == {"first", "second", "third"}
    assert (lane.waiter().acquire() or 0) > 500


def test_lanes_do_not_wait_for_each_other() -> None:
    lanes = [LoggedLane(a_rate(1, 60_000)) for _ in range(2)]
    for lane in lanes:
        lane.token().redeem()
    assert [len(lane.instants()) for lane in lanes] == [1, 1]


def test_slots_are_handed_out_one_interval_apart() -> None:
    lane = LoggedLane(a_rate(1, 1000))
    waits = [lane.waiter().acquire() for _ in range(2)]
    assert waits[0] is not None
    assert waits[1] is not None
    assert 0.5 < waits[1] - waits[0] <= 1


# Pausing


def test_no_call_leaves_a_paused_lane() -> None:
    lane = LoggedLane()
    begin = lane.now()
    lane.pause(0.15)
    at_once([lane.token().redeem for _ in range(3)])
    assert lane.instants()[0] >= begin + 150_000
    assert_kept(lane)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    lane = LoggedLane()
    lane.pause(60)
    lane.pause(0.01)
    assert (lane.waiter().acquire() or 0) > 50


def test_a_token_that_would_wait_too_long_is_refused_at_once() -> None:
    lane = LoggedLane()
    lane.pause(limiter.PATIENCE_SECONDS + 5)
    begin = time.monotonic()
    with pytest.raises(TokenRefused):
        lane.token().redeem()
    assert time.monotonic() - begin < limiter.PATIENCE_SECONDS
    assert lane.instants() == []


def test_a_pause_saves_no_credit() -> None:
    lane = LoggedLane(a_rate(10, 100))
    begin = lane.now() + 100_000
    lane.pause(0.1)
    for _ in range(8):
        lane.token().redeem()
    assert all(instant >= begin + number * 10_000 for number, instant in enumerate(lane.instants()))


def test_a_pause_that_is_ended_lets_calls_leave_at_their_distance() -> None:
    lane = LoggedLane(a_rate(2, 200))
    lane.token().redeem()
    lane.pause(60)
    assert (lane.waiter().acquire() or 0) > 50
    lane.limiter.resume()
    for _ in range(3):
        lane.token().redeem()
    assert_kept(lane)


def test_ending_a_pause_does_not_end_the_wait_of_a_lane_whose_past_is_unknown() -> None:
    lane = LoggedLane(a_rate(1, 60_000), new=True)
    lane.limiter.resume()
    lane.pause(600)
    lane.limiter.resume()
    assert 50 < (lane.waiter().acquire() or 0) <= 60


def test_an_account_rests_for_as_long_as_it_was_told() -> None:
    limiter.rest_account("hers", seconds=60)
    assert 50 < limiter.account_rests_for("hers") <= 60
    limiter.rest_account("his", seconds=0)
    assert limiter.account_rests_for("his") <= 0.001
    assert limiter.account_rests_for("nobody's") == 0


# Calls that left later than they were allowed to


def test_a_call_that_left_late_keeps_the_next_one_off() -> None:
    lane = LoggedLane(a_rate(1, 60))
    late, next_one = lane.token(), lane.token()
    late.redeem()
    redeemed = lane.instants()[0]
    time.sleep(0.04)
    late.postpone(0.03)
    next_one.redeem()
    left, after = lane.instants()
    assert left == redeemed + 30_000
    assert after - left >= 60_000


def test_a_call_leaves_at_the_latest_when_it_says_so() -> None:
    lane = LoggedLane(a_rate(1, 60))
    token = lane.token()
    token.redeem()
    token.postpone(3600)
    assert lane.instants()[0] <= lane.now()


def test_a_call_that_never_left_cannot_be_late() -> None:
    lane = LoggedLane(a_rate(1, 60_000))
    lane.token().postpone(1)
    assert lane.log() == {}
    assert lane.waiter().acquire() == 0


def test_redeeming_returns_the_instant_by_the_local_clock() -> None:
    token, before = LoggedLane().token(), time.monotonic()
    assert token.sent_at is None
    token.redeem()
    assert token.sent_at is not None
    assert before <= token.sent_at <= time.monotonic()


# Leave that arrives late


@pytest.mark.parametrize("late", [0.15, 0.03])
def test_leave_that_arrives_late_counts_from_its_arrival(late: float, settings: Settings) -> None:
    """The log says so before the call leaves, for its worker may die right after."""
    lane = LoggedLane(a_rate(1, 200))
    token = lane.token()
    with slow_answers(settings.REDIS_URL, seconds=late) as settings.REDIS_URL:
        limiter.connect()
        begin = lane.now()
        token.redeem()
    assert lane.instants()[0] >= begin + late * 1_000_000


def test_leave_that_arrives_after_another_call_left_is_void() -> None:
    lane = LoggedLane(a_rate(1, 100))
    late, other = lane.token("late"), lane.token("other")
    assert late.waiter.redeem("late")[0]
    other.redeem()
    with pytest.raises(TokenRefused):
        late.waiter.confirm("late")
    assert list(lane.log()) == ["other"]
    assert lane.revoke("late") is SendOutcome.NEVER_SENT


def test_a_call_that_another_overtook_has_no_instant() -> None:
    lane = LoggedLane(a_rate(1, 60_000))
    late = lane.token("late")
    late.redeem()
    lane.redis.zadd(lane.key("log"), {"other": lane.now()})
    with pytest.raises(TokenRefused):
        late._confirm()
    assert late.sent_at is None
    assert list(lane.log()) == ["other"]


def test_of_several_calls_a_window_some_may_leave_after_others() -> None:
    lane = LoggedLane(a_rate(3, 150))
    late = lane.token("late")
    assert late.waiter.redeem("late")[0]
    lane.token("other").redeem()
    time.sleep(0.05)
    late.waiter.confirm("late")
    for _ in range(3):
        lane.token().redeem()
    assert list(lane.log())[:2] == ["other", "late"]
    assert_kept(lane)


def test_threads_of_one_process_compare_the_clocks_at_once() -> None:
    clock = limiter.RedisClock()

    def compare() -> None:
        for _ in range(500):
            clock.compare(0, asked_at=time.monotonic())

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        at_once([compare] * 8)
    finally:
        sys.setswitchinterval(before)
