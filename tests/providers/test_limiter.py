"""The lane's law, by Redis' own log: how many calls left in any window, whatever workers, restarts and stalls do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import pairwise
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from config import embedded
from providers import limiter
from providers.limiter import Fate, Rate, Seat, Token, Unavailable, Withheld
from tests.providers.lanes import Lane, a_rate, slow_answers
from tests.racing import at_once

RATES = st.builds(
    a_rate,
    calls=st.integers(1, 6),
    window_ms=st.integers(10, 60),
    guard_ms=st.sampled_from((0, 0.5, 3)),
)
# How long a worker dawdles, in parts of a window.
DELAYS = st.lists(st.sampled_from((0.0, 0.0, 0.1, 0.6, 1.1)), min_size=2, max_size=4)


def assert_kept(lane: Lane) -> None:
    """Never more than N in any window, guard included; and late slots are made up at most at 1.25 times the rate."""
    interval = ceil(lane.rate.full_window_us / lane.rate.calls)
    assert_window_kept(lane)
    assert all(later - earlier >= interval * 0.8 for earlier, later in pairwise(lane.instants()))


def assert_window_kept(lane: Lane) -> None:
    instants, rate = lane.instants(), lane.rate
    for first, after in zip(instants, instants[rate.calls :], strict=False):
        assert after - first >= rate.full_window_us


def is_sent(token: Token) -> bool:
    try:
        token.redeem()
    except Withheld:
        return False
    return True


# When a call may leave


@pytest.mark.parametrize("rate", [a_rate(1, 20, 1), a_rate(5, 100), a_rate(20, 100, 2)], ids=str)
def test_many_workers_race_and_none_breaks_the_limit(rate: Rate) -> None:
    lane = Lane(rate)
    sent = at_once([partial(is_sent, lane.token()) for _ in range(40)])
    assert len(lane.instants()) == sum(sent) > 20
    assert_kept(lane)


@hypothesis.settings(max_examples=15, deadline=None)
@given(rate=RATES, workers=st.lists(DELAYS, min_size=2, max_size=4), late=st.sampled_from((0.0, 0.1, 0.5)))
def test_whatever_workers_do_the_limit_holds(rate: Rate, workers: list[list[float]], late: float) -> None:
    lane = Lane(rate)
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
    # A call that left late may have come close to the one after it, which had left before anyone knew.
    assert_window_kept(lane) if late else assert_kept(lane)


@pytest.mark.parametrize("rate", [a_rate(1, 30), a_rate(10, 100)], ids=str)
def test_idle_time_saves_no_credit(rate: Rate) -> None:
    lane = Lane(rate)
    lane.token().redeem()
    time.sleep(2 * rate.full_window_us / 1_000_000)
    begin = lane.now()
    for _ in range(12):
        lane.seat().take()
        lane.token().redeem()
    interval = ceil(rate.full_window_us / rate.calls)
    assert all(instant >= begin + number * interval for number, instant in enumerate(lane.instants()[1:]))


def test_a_late_slot_leaves_those_after_it_where_they_were() -> None:
    lane = Lane(a_rate(10, 1000))
    due = lane.now() - 150_000
    lane.set(free=due)
    lane.token().redeem()
    assert lane.get("free") == due + 100_000


def test_leave_that_is_given_ahead_keeps_the_slots_after_it_where_they_were() -> None:
    lane = Lane(a_rate(1, 1000))
    token, other = lane.token(), lane.seat()
    lane.set(free=lane.now() + 2000)
    while not token.seat.redeem(token.call)[0]:
        pass
    other.leave()
    assert lane.get("free") == lane.instants()[0] + 1_000_000


def test_a_slot_later_than_a_quarter_of_the_window_is_void() -> None:
    lane = Lane(a_rate(10, 1000))
    lane.set(free=lane.now() - 5_000_000)
    lane.token().redeem()
    assert lane.get("free") == lane.instants()[0] + 100_000 - 250_000


def test_with_one_call_a_window_nothing_is_made_up() -> None:
    lane = Lane(a_rate(1, 50))
    lane.set(free=lane.now() - 20_000)
    lane.token().redeem()
    assert lane.get("free") == lane.instants()[0] + 50_000


def test_a_stricter_rate_holds_from_the_next_call_on() -> None:
    lane = Lane(a_rate(10, 100))
    for _ in range(5):
        lane.token().redeem()
    stricter = lane.under(a_rate(2, 200))
    stricter.token().redeem()
    *_, second_last, _, new = stricter.instants()
    assert new - second_last >= 200_000


def test_a_rate_that_was_raised_is_in_force_at_once() -> None:
    lane = Lane(a_rate(1, 3_600_000))
    lane.token().redeem()
    raised = lane.under(a_rate(10, 100))
    raised.token().redeem()
    assert len(raised.instants()) == 2
    assert_kept(raised)


def test_a_rate_that_was_raised_does_not_end_a_pause() -> None:
    lane = Lane(a_rate(1, 60_000))
    lane.pause(60)
    assert (lane.under(a_rate(10, 100)).seat().take() or 0) > 50


def test_a_window_of_an_hour_remembers_an_hour() -> None:
    lane = Lane(a_rate(3, 3_600_000))
    for call, minutes_ago in (("first", 50), ("second", 25)):
        lane.redis.zadd(lane.key("log"), {call: lane.now() - minutes_ago * 60_000_000})
    lane.token("third").redeem()
    assert set(lane.log()) == {"first", "second", "third"}
    assert (lane.seat().take() or 0) > 500


def test_lanes_do_not_wait_for_each_other() -> None:
    lanes = [Lane(a_rate(1, 60_000)) for _ in range(2)]
    for lane in lanes:
        lane.token().redeem()
    assert [len(lane.instants()) for lane in lanes] == [1, 1]


def test_slots_are_handed_out_one_interval_apart() -> None:
    lane = Lane(a_rate(1, 1000))
    waits = [lane.seat().take() for _ in range(2)]
    assert waits[0] is not None
    assert waits[1] is not None
    assert 0.5 < waits[1] - waits[0] <= 1


# What Redis may have forgotten


def test_a_new_lane_waits_a_window_before_its_first_call() -> None:
    lane = Lane(a_rate(1, 50, 5), new=True)
    begin = lane.now()
    lane.token().redeem()
    assert lane.instants()[0] >= begin + 55_000


@pytest.mark.parametrize("rate", [a_rate(1, 50), a_rate(10, 100)], ids=str)
def test_a_flushed_lane_waits_a_window(rate: Rate) -> None:
    lane = Lane(rate)
    lane.token().redeem()
    lane.flush()
    begin = lane.now()
    lane.token().redeem()
    assert lane.instants()[0] >= begin + rate.full_window_us


def test_another_redis_waits_a_window_and_keeps_no_seats() -> None:
    lane = Lane(a_rate(1, 50))
    while lane.seat().hire():
        pass
    lane.set(run="another")
    begin = lane.now()
    assert lane.seat().hire()
    lane.token().redeem()
    assert lane.instants()[0] >= begin + 50_000


# Revoking, and redeeming twice


def test_a_call_cannot_be_redeemed_twice() -> None:
    lane = Lane()
    token = lane.token()
    token.redeem()
    with pytest.raises(Withheld):
        token.redeem()
    assert len(lane.instants()) == 1


def test_of_many_that_redeem_one_call_one_may_send_it() -> None:
    lane = Lane(a_rate(1000, 10))
    sent: list[bool] = []
    at_once([lambda: sent.append(is_sent(lane.token("same"))) for _ in range(10)])
    assert sum(sent) == len(lane.instants()) == 1


def test_a_revoked_call_was_never_sent_and_never_will_be() -> None:
    lane = Lane()
    token = lane.token("mine")
    assert lane.revoke("mine") is Fate.NEVER_SENT
    with pytest.raises(Withheld):
        token.redeem()
    assert lane.revoke("mine") is Fate.NEVER_SENT


def test_a_redeemed_call_was_sent() -> None:
    lane = Lane()
    lane.token("mine").redeem()
    assert lane.revoke("mine") is Fate.SENT


def test_a_race_of_revoking_and_redeeming_has_one_winner() -> None:
    for _ in range(20):
        lane = Lane(a_rate(1000, 10))
        sent, fate = at_once([partial(is_sent, lane.token("mine")), partial(lane.revoke, "mine")])
        assert fate is (Fate.SENT if sent else Fate.NEVER_SENT)


@pytest.mark.parametrize("age_seconds", [60, 0.5])
def test_of_a_call_that_may_be_older_than_the_log_nobody_knows(age_seconds: float) -> None:
    lane = Lane(new=True)
    lane.pause(0)
    assert lane.revoke("mine", age_seconds=age_seconds) is Fate.NOBODY_KNOWS


def test_a_call_of_which_nobody_knows_is_not_sent_after_all() -> None:
    lane = Lane(new=True)
    assert lane.revoke("mine", age_seconds=60) is Fate.NOBODY_KNOWS
    with pytest.raises(Withheld):
        lane.token("mine").redeem()


def test_a_worker_that_slept_through_its_time_sends_nothing() -> None:
    lane = Lane()
    token = lane.token(seconds=0.03)
    time.sleep(0.03)
    with pytest.raises(Withheld):
        token.redeem()


def test_a_worker_whose_seat_redis_forgot_sends_nothing() -> None:
    lane = Lane()
    token = lane.token()
    lane.flush()
    with pytest.raises(Withheld):
        token.redeem()


def test_of_a_call_older_than_the_horizon_nobody_knows() -> None:
    assert Lane().revoke("mine", age_seconds=limiter.HORIZON_US / 1_000_000 + 1) is Fate.NOBODY_KNOWS


def test_the_log_names_a_call_that_is_older_than_its_beginning() -> None:
    lane = Lane()
    lane.token("mine").redeem()
    lane.set(since=lane.now())
    assert lane.revoke("mine", age_seconds=60) is Fate.SENT


# Seats


def test_only_so_many_wait_however_many_ask_at_once() -> None:
    lane = Lane(a_rate(1, 60_000))
    hired: list[bool] = []
    at_once([lambda: hired.append(lane.seat().hire()) for _ in range(20)])
    assert sum(hired) == lane.rate.most_waiting == 2


def test_a_fast_lane_has_more_waiters() -> None:
    assert a_rate(1000, 1000).most_waiting == 102


def test_a_seat_that_was_hired_is_taken_and_another_is_not() -> None:
    lane = Lane(a_rate(1, 1000))
    mine, other = lane.seat(), lane.seat()
    assert mine.hire()
    assert other.hire()
    assert lane.seat().take() is None
    assert mine.take() is not None


def test_only_so_many_are_under_way() -> None:
    lane = Lane(a_rate(1, 1000), most_under_way=3)
    seats = [lane.seat() for _ in range(3)]
    for seat in seats:
        seat.bind(seconds=60)
    assert lane.seat().take() is None
    seats[0].leave()
    assert lane.seat().take() is not None


def test_those_who_wait_leave_none_too_many_under_way() -> None:
    lane = Lane(a_rate(100, 1000), most_under_way=3)
    hired = [seat for seat in (lane.seat() for _ in range(10)) if seat.hire()]
    for seat in hired:
        seat.bind(seconds=60)
    assert len(hired) == 3
    assert not lane.seat().hire()


def test_who_binds_calls_a_successor_to_wait_in_its_stead() -> None:
    lane = Lane(a_rate(1, 60_000))
    seats = [lane.seat() for _ in range(2)]
    assert all(seat.hire() for seat in seats)
    assert seats[0].bind(seconds=60, successor="next")
    assert not lane.seat().hire()
    assert lane.seat("next").take() is not None


def test_who_leaves_calls_a_successor_only_where_there_is_room() -> None:
    lane = Lane(a_rate(1, 60_000))
    mine = lane.seat()
    assert [mine.hire(), lane.seat().hire()] == [True, True]
    assert mine.leave(successor="next")
    assert not lane.seat().leave(successor="one more")


def test_a_seat_that_nobody_took_up_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "SEAT_LEASE_US", 30_000)
    lane = Lane(a_rate(1, 60_000))
    while lane.seat().hire():
        pass
    time.sleep(0.03)
    assert lane.seat().hire()


def test_waiters_that_died_before_their_slots_free_their_seats() -> None:
    lane = Lane(a_rate(1, 30))
    last = max(wait for wait in iter(lambda: lane.seat().take(), None))
    assert last > 0
    time.sleep(last + 0.030)
    assert lane.seat().take() == 0


def test_a_worker_that_died_under_way_frees_its_seat_when_its_time_is_over() -> None:
    lane = Lane(a_rate(1, 60_000), most_under_way=1)
    lane.token(seconds=0.05)
    assert not lane.seat().hire()
    time.sleep(0.05)
    assert lane.seat().hire()


# Pausing


def test_no_call_leaves_a_paused_lane() -> None:
    lane = Lane()
    begin = lane.now()
    lane.pause(0.15)
    at_once([lane.token().redeem for _ in range(3)])
    assert lane.instants()[0] >= begin + 150_000
    assert_kept(lane)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    lane = Lane()
    lane.pause(60)
    lane.pause(0.01)
    assert (lane.seat().take() or 0) > 50


def test_a_call_that_would_wait_too_long_is_withheld_at_once() -> None:
    lane = Lane()
    lane.pause(limiter.PATIENCE_SECONDS + 5)
    begin = time.monotonic()
    with pytest.raises(Withheld):
        lane.token().redeem()
    assert time.monotonic() - begin < limiter.PATIENCE_SECONDS
    assert lane.instants() == []


def test_a_pause_saves_no_credit() -> None:
    lane = Lane(a_rate(10, 100))
    begin = lane.now() + 100_000
    lane.pause(0.1)
    for _ in range(8):
        lane.token().redeem()
    assert all(instant >= begin + number * 10_000 for number, instant in enumerate(lane.instants()))


def test_a_pause_that_is_ended_lets_calls_leave_at_their_distance() -> None:
    lane = Lane(a_rate(2, 200))
    lane.token().redeem()
    lane.pause(60)
    assert (lane.seat().take() or 0) > 50
    limiter.reopen(lane.name, lane.rate)
    for _ in range(3):
        lane.token().redeem()
    assert_kept(lane)


def test_ending_a_pause_does_not_end_the_wait_of_a_lane_whose_past_is_unknown() -> None:
    lane = Lane(a_rate(1, 60_000), new=True)
    limiter.reopen(lane.name, lane.rate)
    lane.pause(600)
    limiter.reopen(lane.name, lane.rate)
    assert 50 < (lane.seat().take() or 0) <= 60


# Calls that left later than they were allowed to


def test_a_call_that_left_late_keeps_the_next_one_off() -> None:
    lane = Lane(a_rate(1, 60))
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
    lane = Lane(a_rate(1, 60))
    token = lane.token()
    token.redeem()
    token.postpone(3600)
    assert lane.instants()[0] <= lane.now()


def test_a_call_that_never_left_cannot_be_late() -> None:
    lane = Lane(a_rate(1, 60_000))
    lane.token().postpone(1)
    assert lane.log() == {}
    assert lane.seat().take() == 0


def test_redeeming_tells_the_instant_by_the_local_clock() -> None:
    token, before = Lane().token(), time.monotonic()
    assert token.left_at is None
    token.redeem()
    assert token.left_at is not None
    assert before <= token.left_at <= time.monotonic()


# Words of leave that came late


@pytest.mark.parametrize("late", [0.15, 0.03])
def test_leave_that_was_heard_late_counts_from_when_it_was_heard(late: float, settings: Settings) -> None:
    """And it does before the call leaves: whoever dies thereafter has told."""
    lane = Lane(a_rate(1, 200))
    token = lane.token()
    with slow_answers(settings.REDIS_URL, seconds=late) as settings.REDIS_URL:
        limiter.reach()
        begin = lane.now()
        token.redeem()
    assert lane.instants()[0] >= begin + late * 1_000_000


def test_leave_that_was_heard_after_another_call_left_is_none() -> None:
    lane = Lane(a_rate(1, 100))
    late, other = lane.token("late"), lane.token("other")
    assert late.seat.redeem("late")[0]
    other.redeem()
    with pytest.raises(Withheld):
        late.seat.confirm("late")
    assert list(lane.log()) == ["other"]
    assert lane.revoke("late") is Fate.NEVER_SENT


def test_of_several_calls_a_window_some_may_leave_after_others() -> None:
    lane = Lane(a_rate(3, 150))
    late = lane.token("late")
    assert late.seat.redeem("late")[0]
    lane.token("other").redeem()
    time.sleep(0.05)
    late.seat.confirm("late")
    for _ in range(3):
        lane.token().redeem()
    assert list(lane.log())[:2] == ["other", "late"]
    assert_kept(lane)


# A Redis that is not there


@pytest.fixture
def brief(settings: Settings) -> Settings:
    """Little patience with Redis."""
    settings.REDIS_TIMEOUT_SECONDS = 0.2
    return settings


def assert_fails_closed() -> None:
    seat = Seat(lane=str(uuid4()), name="mine", rate=a_rate(), most_under_way=1)
    revoking = partial(limiter.revoke, seat.lane, seat.rate, "mine", age_seconds=0)
    pausing = partial(limiter.pause, seat.lane, seat.rate, seconds=1)
    for ask in (seat.hire, seat.take, Token(seat=seat, call="mine").redeem, revoking, pausing):
        begin = time.monotonic()
        with pytest.raises(Unavailable):
            ask()
        assert time.monotonic() - begin < 2


def test_no_call_leaves_where_redis_refuses(brief: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        brief.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}"
    assert_fails_closed()


def test_no_call_leaves_where_redis_is_silent(brief: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        brief.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}"
        assert_fails_closed()


def test_no_call_leaves_where_redis_does_not_know_us(brief: Settings) -> None:
    url = urlsplit(brief.REDIS_URL)
    brief.REDIS_URL = url._replace(netloc=f":wrong@{url.hostname}:{url.port}").geturl()
    assert_fails_closed()


Running = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def redis_of_our_own(settings: Settings) -> Iterator[Running]:
    """Each time it is entered, a Redis of this test alone runs, over the same data."""
    with TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)

        @contextmanager
        def running() -> Iterator[None]:
            environ = {"DATABASE_URL": "none is started", "STATE_DIR": folder}
            with embedded.services(environ):
                settings.REDIS_URL = environ["REDIS_URL"]
                yield

        yield running


def test_after_a_restart_a_lane_waits_a_window_and_remembers_its_log(redis_of_our_own: Running) -> None:
    with redis_of_our_own():
        lane = Lane(a_rate(1, 300))
        lane.token("before").redeem()
    with redis_of_our_own():
        begin = lane.now()
        assert lane.revoke("before") is Fate.SENT
        lane.token("after").redeem()
        assert lane.log()["after"] >= begin + 300_000
        assert lane.revoke("older", age_seconds=30) is Fate.NOBODY_KNOWS


def test_no_call_leaves_where_redis_does_not_write(redis_of_our_own: Running) -> None:
    with redis_of_our_own():
        lane = Lane()
        lane.redis.config_set("maxmemory", "1")
        assert_fails_closed()


def test_no_call_leaves_on_an_answer_that_comes_too_late(redis_of_our_own: Running, brief: Settings) -> None:
    with redis_of_our_own():
        lane = Lane()
        token = lane.token()
        lane.redis.client_pause(300)
        with pytest.raises(Unavailable):
            token.redeem()
        assert token.left_at is None
