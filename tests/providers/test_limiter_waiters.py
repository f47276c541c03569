"""Tests the admission of waiters: how many wait for a slot, and how many have a call in flight.

A waiter whose slot has passed counts as dead after an interval. Where a test counts waiters its lane is therefore paused: their
slots are behind the pause, and none passes however busy the machine is.
"""

from __future__ import annotations

import time

import pytest

from providers import limiter
from providers.limiter import Rate
from tests.providers.lanes import LoggedLane, a_rate
from tests.racing import at_once

PAUSE_SECONDS = 600


def paused(rate: Rate, *, max_in_flight: int = 100) -> LoggedLane:
    lane = LoggedLane(rate, max_in_flight=max_in_flight)
    lane.pause(PAUSE_SECONDS)
    return lane


def slot(wait: float | None) -> float:
    """Returns how long after the pause a slot is. The time that passed since then is missing from it."""
    assert wait is not None
    return wait - PAUSE_SECONDS


def test_only_so_many_wait_however_many_ask_at_once() -> None:
    lane = LoggedLane(a_rate(1, 60_000))
    reserved: list[bool] = []
    at_once([lambda: reserved.append(lane.waiter().reserve()) for _ in range(20)])
    assert sum(reserved) == lane.rate.most_waiting == 2


def test_a_fast_lane_has_more_waiters() -> None:
    fast = a_rate(1000, 900, 100)
    assert (fast.interval_seconds, fast.most_waiting) == (0.001, 102)


def test_a_reserved_waiter_is_acquired_and_another_is_not() -> None:
    lane = LoggedLane(a_rate(1, 1000))
    mine, other = lane.waiter(), lane.waiter()
    assert mine.reserve()
    assert other.reserve()
    assert lane.waiter().acquire() is None
    assert mine.acquire() is not None


def test_only_so_many_are_in_flight() -> None:
    lane = LoggedLane(a_rate(1, 1000), max_in_flight=3)
    waiters = [lane.waiter() for _ in range(3)]
    for waiter in waiters:
        waiter.start(seconds=60)
    assert lane.waiter().acquire() is None
    waiters[0].release()
    assert lane.waiter().acquire() is not None


def test_those_who_wait_make_none_too_many_in_flight() -> None:
    lane = paused(a_rate(20, 1000), max_in_flight=3)
    waiting = [waiter for waiter in (lane.waiter() for _ in range(10)) if waiter.acquire() is not None]
    for waiter in waiting:
        waiter.start(seconds=60)
    assert len(waiting) == 3
    assert not lane.waiter().reserve()
    assert lane.waiter().reacquire() is None


def test_two_reserved_waiters_are_unclaimed_at_most() -> None:
    """While all workers are busy, another message would only wait behind these two."""
    lane = LoggedLane(a_rate(100, 1000))
    reserved = [lane.waiter() for _ in range(3)]
    assert [waiter.reserve() for waiter in reserved] == [True, True, False]
    reserved[0].acquire()
    assert reserved[2].reserve()


def test_starting_reserves_a_successor_to_wait_instead() -> None:
    lane = LoggedLane(a_rate(1, 60_000))
    waiters = [lane.waiter() for _ in range(2)]
    assert all(waiter.reserve() for waiter in waiters)
    assert waiters[0].start(seconds=60, successor="next") == ["next:0"]
    assert not lane.waiter().reserve()
    assert lane.waiter("next:0").acquire() is not None


def test_releasing_reserves_a_successor_only_where_there_is_room() -> None:
    lane = LoggedLane(a_rate(1, 60_000))
    mine = lane.waiter()
    assert [mine.reserve(), lane.waiter().reserve()] == [True, True]
    assert mine.release(successor="next") == ["next:0"]
    assert lane.waiter().release(successor="one more") == []


def test_starting_reserves_as_many_as_the_lane_lacks() -> None:
    lane = LoggedLane(a_rate(30, 1000))
    mine = lane.waiter()
    mine.acquire()
    assert mine.start(seconds=60, successor="next") == ["next:0", "next:1"]
    assert [lane.waiter(f"next:{number}").acquire() is not None for number in range(2)] == [True, True]
    assert lane.rate.most_waiting == 5
    assert len(mine.start(seconds=60, successor="others")) == 2


def test_reacquiring_gives_another_slot() -> None:
    lane = paused(a_rate(1, 60_000))
    mine = lane.waiter()
    assert slot(mine.acquire()) <= 0
    mine.start(seconds=60)
    assert slot(mine.reacquire()) <= 0
    assert 30 < slot(lane.waiter().acquire()) <= 60


def test_the_slot_that_reacquiring_gives_is_behind_those_of_others() -> None:
    lane = paused(a_rate(1, 60_000))
    mine, other = lane.waiter(), lane.waiter()
    mine.start(seconds=60)
    assert slot(other.acquire()) <= 0
    assert 30 < slot(mine.reacquire()) <= 60


def test_acquiring_twice_keeps_nobody_behind_oneself() -> None:
    lane = LoggedLane(a_rate(1, 60_000))
    mine = lane.waiter()
    assert [mine.acquire(), mine.acquire()] == [0, 0]


def test_reacquiring_where_enough_others_wait_releases() -> None:
    lane = paused(a_rate(1, 60_000), max_in_flight=3)
    mine = lane.waiter()
    mine.start(seconds=60)
    others = [lane.waiter() for _ in range(2)]
    assert all(other.acquire() is not None for other in others)
    assert mine.reacquire() is None
    others[0].start(seconds=60)
    others[1].start(seconds=60)
    assert lane.waiter().reserve()


def test_a_few_more_may_reacquire_than_are_reserved() -> None:
    """Calls take longer and shorter. No worker should be sent away only to call another."""
    lane = paused(a_rate(10, 1000))
    waiters = [lane.waiter() for _ in range(10)]
    assert sum(waiter.acquire() is not None for waiter in waiters) == lane.rate.most_waiting == 3
    assert sum(lane.waiter().reacquire() is not None for _ in range(10)) == 1
    assert lane.rate.most_staying == 4


def test_a_reserved_waiter_that_nobody_acquired_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "WAITER_LEASE_US", 30_000)
    lane = LoggedLane(a_rate(1, 60_000))
    while lane.waiter().reserve():
        pass
    time.sleep(0.03)
    assert lane.waiter().reserve()


def test_a_worker_in_the_lane_reserves_another_where_a_message_was_lost() -> None:
    """A worker that dies takes unbegun messages with it. Only another worker in the lane notices before the lease ends."""
    lane = LoggedLane(a_rate(10, 1000))
    mine, began = lane.waiter(), time.monotonic()
    mine.start(seconds=60)
    while lane.waiter().reserve():
        pass
    assert not mine.start(seconds=60, successor="too early") or time.monotonic() - began > 0.15
    time.sleep(0.16)
    assert not lane.waiter().reserve()
    assert mine.release(successor="next")


def test_none_is_reserved_instead_of_one_whose_message_is_still_queued() -> None:
    lane = LoggedLane(a_rate(10, 1000))
    mine, began = lane.waiter(), time.monotonic()
    mine.start(seconds=60)
    while lane.waiter().reserve():
        lane.redis.lpush(lane.broker_queue, "a message")
    time.sleep(0.16)
    assert not mine.start(seconds=60, successor="too early") or time.monotonic() - began > 1
    lane.redis.delete(lane.broker_queue)
    time.sleep(0.16)
    assert mine.release(successor="next")


def test_where_messages_wait_all_the_time_a_lost_one_is_missed_after_a_second() -> None:
    lane = LoggedLane(a_rate(10, 1000))
    mine, began = lane.waiter(), time.monotonic()
    mine.start(seconds=60)
    while lane.waiter().reserve():
        pass
    lane.redis.lpush(lane.broker_queue, "another lane's")
    assert not mine.start(seconds=60, successor="too early") or time.monotonic() - began > 1
    time.sleep(1.05)
    assert mine.start(seconds=60, successor="next")


def test_acquiring_ends_what_was_in_flight() -> None:
    """Redis may not have heard that its last call ended."""
    lane = LoggedLane(a_rate(10, 1000), max_in_flight=2)
    waiters = [lane.waiter() for _ in range(2)]
    for waiter in waiters:
        waiter.start(seconds=60)
    assert lane.waiter().acquire() is None
    assert all(waiter.acquire() is not None for waiter in waiters)


def test_waiters_that_died_before_their_slots_are_released() -> None:
    lane = LoggedLane(a_rate(1, 30))
    last = max(wait for wait in iter(lambda: lane.waiter().acquire(), None))
    assert last > 0
    time.sleep(last + 0.030)
    assert lane.waiter().acquire() == 0


def test_a_worker_that_died_in_flight_is_released_when_its_time_is_over() -> None:
    dead, alive = (LoggedLane(a_rate(1, 60_000), max_in_flight=1) for _ in range(2))
    dead.token(seconds=0.05)
    alive.token(seconds=60)
    time.sleep(0.05)
    assert dead.waiter().reserve()
    assert not alive.waiter().reserve()
