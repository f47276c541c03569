"""May a call leave now? One token bucket a lane, in Redis, for all workers on all machines.

The script beside this module decides everything, by Redis' own clock. A worker takes a *seat* and learns when its slot
is; shortly before, it fetches something to send (*bind*), and inside the connection, just before the first byte, it
*redeems*: the call is in the lane's log, or it is told how long to wait still. Slots are expectations, the log is the
law: a call that is late shifts nobody into a refusal. No Redis, no token: it fails closed.

Rejected: slots booked ahead for named jobs (a dead worker strands them), and a check before the connection is made (a
cold one then leaves late, and the next too early). `lane.free` is kept on its grid when a slot is late, so that up to a
quarter of the window can be made up, at most at 1.25 times the rate; with one call a window nothing is.

The lane learns the jitter of the way to its provider: a refusal of a call that kept its distance by no more than a guard
doubles that guard at once, and calls that are not refused narrow it slowly. A provider may suspend a key whose calls come
too early again and again. All keys of a lane pay for its guard, so one key alone teaches little: a five-hundredth of the
window, or a hundredth where the last hundred calls were all made with it. Refusals of two tenants' keys count fully.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from redis.commands.core import Script

from accounts import redis_client

log = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_suffix(".lua").read_text()
# Redemptions are remembered this long: far longer than any lease on a call.
HORIZON_US = 900 * 1_000_000
# A seat that nobody took up, or whose worker died before its slot, is free again after this.
SEAT_LEASE_US = 5 * 1_000_000
# Waiters needed beyond two, so that fetching and preparing overlap with the slots before: this much time's worth.
PREPARING_US = 100_000
# A token held longer than this without a slot is given up; the lookup keeps its turn.
PATIENCE_SECONDS = 5.0
# Who waits for its instant asks again this much before it, so that waking late and the round trip are over by then; the
# script gives leave up to three milliseconds ahead.
EARLY_SECONDS = 0.0028
# A Redis that refuses is told of in the log this often by one process.
QUIET_SECONDS = 5.0
# Redis' clock is known by the fastest of this many exchanges, none older than this; a new process makes some at once.
EXCHANGES, EXCHANGE_SECONDS, COMPARISONS = 64, 30.0, 8
# A call that leaves within half its lane's guard is on time, but within these bounds: handing a first byte to the kernel
# takes most of the one, and a guard of some milliseconds is there for what happens behind the kernel. Nine in ten calls
# leave within 0.8 ms on a machine that is full, and word of one that doesn't costs seven commands of Redis.
LEAST_LATE_SECONDS, MOST_LATE_SECONDS = 0.0005, 0.001

LANES, RESTING = redis_client.keys("lane:"), redis_client.keys("resting:")
# The script's verdict on a call whose key rests; other verdicts below 0 mean that it must never leave.
KEY_RESTS = -2

_quiet_until = 0.0


class Unavailable(Exception):
    """Redis cannot be asked, or will not write: no token, so no call."""


class Withheld(Exception):
    """No slot for this call, and nothing was sent: the lane paused meanwhile, the call or its seat is taken for dead, or
    what it was to leave by was gone."""


class KeyRests(Withheld):
    """The provider told the call's key to wait, and `seconds` of that are left. Nothing was sent."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"its key rests for {seconds:.1f} s still")
        self.seconds = seconds


class Fate(Enum):
    """What a lane's log says of a call."""

    SENT = 1
    NEVER_SENT = 0
    NOBODY_KNOWS = -1


@dataclass(frozen=True, kw_only=True)
class Rate:
    """At most `calls` in any `window_us`, kept apart by `guard_us` more."""

    calls: int
    window_us: int
    guard_us: int

    @property
    def full_window_us(self) -> int:
        return self.window_us + self.guard_us

    @property
    def interval_seconds(self) -> float:
        return self.full_window_us / self.calls / 1_000_000

    @property
    def most_waiting(self) -> int:
        return 2 + self._overlapping

    @property
    def most_staying(self) -> int:
        """In a fast lane a few more than are called: calls that take longer and shorter send nobody away only to call another."""
        return self.most_waiting + self._overlapping

    @property
    def _overlapping(self) -> int:
        return PREPARING_US * self.calls // self.full_window_us


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One worker's part in a lane: it waits for a slot, or has a call under way. `messages`: the Redis list that workers take
    their messages from; empty where there is none.
    """

    lane: str
    name: str
    rate: Rate
    most_under_way: int
    messages: str = ""

    def hire(self) -> bool:
        """Whether the lane has room for one more to wait; then a worker should be told to take this seat."""
        return bool(self._run("hire", self.name, *self._room()))

    def take(self) -> float | None:
        """Seconds until this seat's slot, or None where enough others wait."""
        wait = self._run("take", self.name, *self._room())
        return None if wait < 0 else wait / 1_000_000

    def stay(self) -> float | None:
        """It is done, and waits again: seconds until its next slot, or None where enough others wait; then it is given up."""
        wait = self._run("stay", self.name, *self._room(), self.rate.most_staying)
        return None if wait < 0 else wait / 1_000_000

    def bind(self, *, seconds: float, successor: str = "") -> list[str]:
        """It has something to send, and may be under way for so long. Seats named after `successor` that are to wait in its
        stead.
        """
        return _named(successor, self._run("bind", self.name, *self._room(), int(seconds * 1_000_000), successor))

    def leave(self, *, successor: str = "") -> list[str]:
        """It is done, or gives up. Seats named after `successor` that are to wait."""
        return _named(successor, self._run("leave", self.name, *self._room(), successor))

    def _room(self) -> tuple[int, int, int, str]:
        return self.rate.most_waiting, self.most_under_way, SEAT_LEASE_US, self.messages

    def redeem(self, call: str, key: str = "") -> tuple[bool, float]:
        """Whether the call may leave, and the instant to leave or to ask again at, by the local clock. Raises `Withheld`
        and `KeyRests`.
        """
        asked_at = time.monotonic()
        verdict, instant, present = self._run("redeem", self.name, call, key)
        if verdict == KEY_RESTS:
            raise KeyRests((instant - present) / 1_000_000)
        if verdict < 0:
            raise Withheld
        return bool(verdict), instant / 1_000_000 + _redis_clock.compare(present, asked_at=asked_at)

    def confirm(self, call: str) -> None:
        """For a call that has not left yet, some while after it was redeemed. Raises `Withheld` where others have."""
        if not self._run("confirm", call):
            raise Withheld

    def postpone(self, call: str, seconds: float) -> None:
        self._run("postpone", call, int(seconds * 1_000_000))

    def _run(self, operation: str, *arguments: Any) -> Any:
        return _evaluate(self.lane, self.rate, operation, *arguments)


@dataclass(kw_only=True)
class Token:
    """Leave to make one call at one instant. `providers.http` redeems it just before the first byte.

    By the local monotonic clock, `slot_at`: when its seat's slot is expected; `left_at`: when it was redeemed, None before.
    `key`: names the key that it is made with, as in `rest_key` and `refuse`.
    """

    seat: Seat
    call: str
    key: str = ""
    slot_at: float = 0.0
    left_at: float | None = None

    def redeem(self) -> None:
        """Returns at the instant to send. Raises `Withheld` or `Unavailable`: then nothing may be sent."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        # Asked any earlier, the log would say no more than how long to wait.
        _sleep_until(self.slot_at - EARLY_SECONDS)
        while True:
            granted, instant = self.seat.redeem(self.call, self.key)
            if granted:
                break
            if instant > deadline:
                raise Withheld
            _sleep_until(instant - EARLY_SECONDS)
        self.left_at = instant
        _spin_until(instant)
        if time.monotonic() - instant > self.late_after_seconds:
            self._confirm()

    def _confirm(self) -> None:
        """Leave came late, or the processor was elsewhere: others may have left since, and those to come must know before
        this one leaves, for nobody tells them if its worker ends thereafter.
        """
        asked_at = time.monotonic()
        self.left_at = None
        self.seat.confirm(self.call)
        self.left_at = asked_at

    @property
    def late_after_seconds(self) -> float:
        """A call that leaves later than this after its instant would let the next come too close to it."""
        return min(MOST_LATE_SECONDS, max(LEAST_LATE_SECONDS, self.seat.rate.guard_us / 2_000_000))

    def postpone(self, seconds: float) -> None:
        """The call left so much later than it was redeemed; those after it keep their distance from then."""
        with suppress(Unavailable):
            self.seat.postpone(self.call, seconds)


class RedisClock:
    """Redis' clock by this process' monotonic one.

    An answer comes after Redis looked at its clock, and the sooner the closer: the fastest of late says where that clock
    is, within what the present exchange allows, for clocks drift and are set.
    """

    def __init__(self) -> None:
        self._exchanges: deque[tuple[float, float]] = deque(maxlen=EXCHANGES)

    def compare(self, present: int, *, asked_at: float) -> float:
        """How far local seconds are ahead of Redis', whose clock was at `present`, in microseconds, when it was asked."""
        answered_at = time.monotonic()
        self._exchanges.append((answered_at, answered_at - present / 1_000_000))
        fastest = min(ahead for noted_at, ahead in self._exchanges if noted_at > answered_at - EXCHANGE_SECONDS)
        return max(fastest, asked_at - present / 1_000_000)


_redis_clock = RedisClock()


def _named(successor: str, hired: int) -> list[str]:
    return [f"{successor}:{number}" for number in range(hired)]


def _sleep_until(instant: float) -> None:
    left = instant - time.monotonic()
    if left > 0:
        time.sleep(left)


def _spin_until(instant: float) -> None:
    """A sleep would end a tenth of a millisecond late, and a busy machine's a whole one; this is three of them at most."""
    while time.monotonic() < instant:
        pass


def revoke(lane: str, rate: Rate, call: str, *, age_seconds: float) -> Fate:
    """Settles what became of a call armed `age_seconds` ago: from here on one that was not sent never will be."""
    return Fate(_evaluate(lane, rate, "revoke", call, int(age_seconds * 1_000_000)))


def pause(lane: str, rate: Rate, *, seconds: float) -> None:
    """No call leaves this lane for so long."""
    _evaluate(lane, rate, "pause", int(seconds * 1_000_000))


def reopen(lane: str, rate: Rate) -> None:
    """Ends a pause. A lane that cannot know what left before its log began still waits a window for that."""
    _evaluate(lane, rate, "reopen")


def rest_key(lane: str, rate: Rate, key: str, *, seconds: float) -> None:
    """No call with this key leaves the lane for so long, those neither that were claimed already; others do."""
    _evaluate(lane, rate, "rest", key, int(seconds * 1_000_000))


def end_rests(lane: str, rate: Rate) -> None:
    """Every key may be called with again."""
    _evaluate(lane, rate, "rouse")


def refuse(lane: str, rate: Rate, call: str, *, key: str = "", tenant: str = "") -> float | None:
    """Tells the lane that the provider refused a call as too early. Returns the milliseconds by which its guard is widened
    now, or None where the refusal says nothing of the guard.

    `key`, `tenant`: whose refusal it was, in a lane of several accounts; empty in a lane of one, which teaches itself.
    """
    margin = _evaluate(lane, rate, "refuse", call, key, tenant)
    return None if margin < 0 else margin / 1000


def margin_ms(lane: str) -> float:
    """Returns the milliseconds by which a lane has learned to widen its policy's guard."""
    with _failing_closed():
        margin: Any = redis_client.of(settings.REDIS_URL).hget(_key(lane), "margin")
        return int(margin or 0) / 1000


def rest(name: str, *, seconds: float) -> None:
    """Whoever goes by this name makes no call for so long, while its lane goes on for the others."""
    with _failing_closed():
        redis_client.of(settings.REDIS_URL).set(_resting(name), "", px=max(1, round(seconds * 1000)))


def rests_for(name: str) -> float:
    """Seconds that it rests for still; 0 where it does not."""
    with _failing_closed():
        milliseconds: Any = redis_client.of(settings.REDIS_URL).pttl(_resting(name))
        return max(0.0, float(milliseconds) / 1000)


def reach() -> None:
    """Opens the connection and compares clocks. Raises `Unavailable`."""
    with _failing_closed():
        client = redis_client.of(settings.REDIS_URL)
        client.ping()
        for _ in range(COMPARISONS):
            asked_at = time.monotonic()
            seconds, microseconds = client.time()
            _redis_clock.compare(seconds * 1_000_000 + microseconds, asked_at=asked_at)


def _evaluate(lane: str, rate: Rate, operation: str, *arguments: Any) -> Any:
    """The script's answer: an integer, or for a redemption two."""
    keys = [f"{_key(lane)}{part}" for part in ("", ":log", ":void")]
    with _failing_closed():
        script = _script(settings.REDIS_URL)
        return script(keys=keys, args=[operation, rate.calls, rate.window_us, rate.guard_us, HORIZON_US, *arguments])


def _key(lane: str) -> str:
    return f"{LANES}{{{lane}}}"


@contextmanager
def _failing_closed() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        if isinstance(error, redis.ResponseError):
            _say_that_it_refuses(error)
        raise Unavailable from error


def _say_that_it_refuses(error: redis.ResponseError) -> None:
    """Logs that Redis answers as a replica after a fail-over, or full, or with a failed disk. Workers ask ten times a second."""
    global _quiet_until
    if time.monotonic() >= _quiet_until:
        _quiet_until = time.monotonic() + QUIET_SECONDS
        log.error("Redis refuses: %s", error)


def _resting(name: str) -> str:
    return f"{RESTING}{name}"


@cache
def _script(url: str) -> Script:
    return redis_client.of(url).register_script(SCRIPT)
