"""A lane's seats: how many wait for a slot, and how many calls are under way."""

from __future__ import annotations

import time

import pytest

from providers import limiter
from tests.providers.lanes import Lane, a_rate
from tests.racing import at_once


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
    waiting = [seat for seat in (lane.seat() for _ in range(10)) if seat.take() is not None]
    for seat in waiting:
        seat.bind(seconds=60)
    assert len(waiting) == 3
    assert not lane.seat().hire()
    assert lane.seat().stay() is None


def test_of_seats_that_nobody_has_taken_up_yet_there_are_two() -> None:
    """While all workers are busy, another message would only wait behind those."""
    lane = Lane(a_rate(100, 1000))
    called = [lane.seat() for _ in range(3)]
    assert [seat.hire() for seat in called] == [True, True, False]
    called[0].take()
    assert called[2].hire()


def test_who_binds_calls_a_successor_to_wait_in_its_stead() -> None:
    lane = Lane(a_rate(1, 60_000))
    seats = [lane.seat() for _ in range(2)]
    assert all(seat.hire() for seat in seats)
    assert seats[0].bind(seconds=60, successor="next") == ["next:0"]
    assert not lane.seat().hire()
    assert lane.seat("next:0").take() is not None


def test_who_leaves_calls_a_successor_only_where_there_is_room() -> None:
    lane = Lane(a_rate(1, 60_000))
    mine = lane.seat()
    assert [mine.hire(), lane.seat().hire()] == [True, True]
    assert mine.leave(successor="next") == ["next:0"]
    assert lane.seat().leave(successor="one more") == []


def test_who_is_at_work_calls_as_many_as_the_lane_lacks() -> None:
    lane = Lane(a_rate(30, 1000))
    mine = lane.seat()
    mine.take()
    assert mine.bind(seconds=60, successor="next") == ["next:0", "next:1"]
    assert [lane.seat(f"next:{number}").take() is not None for number in range(2)] == [True, True]
    assert lane.rate.most_waiting == 5
    assert len(mine.bind(seconds=60, successor="others")) == 2


def test_who_stays_has_another_slot() -> None:
    lane = Lane(a_rate(1, 1000))
    mine = lane.seat()
    assert mine.take() == 0
    mine.bind(seconds=60)
    assert mine.stay() == 0
    other = lane.seat().take()
    assert other is not None
    assert 0.5 < other <= 1


def test_who_would_stay_where_enough_others_wait_gives_its_seat_up() -> None:
    lane = Lane(a_rate(1, 60_000), most_under_way=3)
    mine = lane.seat()
    mine.bind(seconds=60)
    others = [lane.seat() for _ in range(2)]
    assert all(other.take() is not None for other in others)
    assert mine.stay() is None
    others[0].bind(seconds=60)
    others[1].bind(seconds=60)
    assert lane.seat().hire()


def test_a_few_more_may_stay_than_are_called() -> None:
    """So that calls that take longer and shorter send nobody away only to call another."""
    lane = Lane(a_rate(20, 1000))
    seats = [lane.seat() for _ in range(10)]
    assert sum(seat.take() is not None for seat in seats) == lane.rate.most_waiting == 4
    assert sum(lane.seat().stay() is not None for _ in range(10)) == 2
    assert lane.rate.most_staying == 6


def test_a_seat_that_nobody_took_up_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "SEAT_LEASE_US", 30_000)
    lane = Lane(a_rate(1, 60_000))
    while lane.seat().hire():
        pass
    time.sleep(0.03)
    assert lane.seat().hire()


def test_who_is_at_work_calls_another_where_a_message_was_lost() -> None:
    """A worker that dies takes the messages with it that it had not begun; who only passes by waits for the lease."""
    lane = Lane(a_rate(10, 1000))
    mine = lane.seat()
    mine.bind(seconds=60)
    while lane.seat().hire():
        pass
    assert not mine.bind(seconds=60, successor="too early")
    time.sleep(0.16)
    assert not lane.seat().hire()
    assert mine.leave(successor="next")


def test_nobody_is_called_in_the_stead_of_one_whose_message_still_waits_for_a_worker() -> None:
    lane = Lane(a_rate(10, 1000))
    mine = lane.seat()
    mine.bind(seconds=60)
    while lane.seat().hire():
        lane.redis.lpush(lane.messages, "a message")
    time.sleep(0.16)
    assert not mine.bind(seconds=60, successor="next")
    lane.redis.delete(lane.messages)
    assert mine.leave(successor="next")


def test_where_messages_wait_all_the_time_a_lost_one_is_missed_after_a_second() -> None:
    lane = Lane(a_rate(10, 1000))
    mine = lane.seat()
    mine.bind(seconds=60)
    while lane.seat().hire():
        pass
    lane.redis.lpush(lane.messages, "another lane's")
    assert not mine.bind(seconds=60, successor="next")
    time.sleep(1.05)
    assert mine.bind(seconds=60, successor="next")


def test_who_comes_has_nothing_under_way() -> None:
    """Of the end of its last call Redis may not have heard."""
    lane = Lane(a_rate(10, 1000), most_under_way=2)
    seats = [lane.seat() for _ in range(2)]
    for seat in seats:
        seat.bind(seconds=60)
    assert lane.seat().take() is None
    assert all(seat.take() is not None for seat in seats)


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
