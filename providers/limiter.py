"""Decides when a call may leave: one token bucket a lane, in Redis, for all workers on all machines.

Two Lua scripts decide everything, by the clock of Redis (`limiter_tokens.lua` and `limiter_waiters.lua`); the rule of the
window is in what both share (`limiter_lane.lua`). A worker acquires a *waiter* and is given a slot. Shortly before the slot it
fetches something to send and starts the waiter. Inside the connection, just before the first byte, it redeems its token: either
the call is now in the lane's log, or the answer says how much longer to wait. Slots are expectations, and the log is the law: a
late call makes no other call be refused. Without Redis there is no token, so the limiter fails closed.

Rejected: slots booked ahead for named jobs (a dead worker strands them), and a check before the connection is made (a call on a
cold connection then leaves late, and the next one too early). The lane keeps its grid of slots when a slot is late, so that up
to a quarter of the window can be made up for, at 1.25 times the rate at most. With one call a window there is nothing to make
up for.

A lane learns the jitter on the way to its provider. A refusal of a call that kept its distance, or missed it by less than a
guard, doubles the guard at once; calls that are answered narrow it slowly. The reason is that a provider may suspend a key
whose calls come too early again and again. All keys of a lane pay for its guard, so one key alone teaches little: a five-
hundredth of the window, or a hundredth where the last hundred calls were all made with it. Refusals of two tenants' keys count
fully.
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
from threading import Lock
from typing import Any

import redis
from django.conf import settings
from redis.commands.core import Script

from accounts import redis_client

log = logging.getLogger(__name__)

LANE, TOKENS, WAITERS = (
    Path(__file__).with_name(f"limiter_{part}.lua").read_text() for part in ("lane", "tokens", "waiters")
)
# Redemptions are remembered for 15 minutes, which is far longer than any lease on a call.
HORIZON_US = 900 * 1_000_000
# A waiter that nobody acquired, or whose worker died before its slot, is free again after this.
WAITER_LEASE_US = 5 * 1_000_000
# Fetching and preparing a call takes up to 0.1 s. So much time's worth of waiters, beyond two, lets that overlap with the
# slots before.
PREPARING_US = 100_000
# A token that has had no slot for this long is given up; its lookup keeps its turn.
PATIENCE_SECONDS = 5.0
# A sender asks this much before its instant, so that waking late and the round trip are over by then. The script gives leave
# up to 3 ms ahead.
EARLY_SECONDS = 0.0028
# The clock of Redis is known by the fastest of the last 64 exchanges that are no older than 30 s. A new process makes 8.
EXCHANGES, EXCHANGE_SECONDS, COMPARISONS = 64, 30.0, 8
# A call that leaves within half its lane's guard is on time, but within these bounds. Handing a first byte to the kernel
# takes most of the lower one. A guard of some milliseconds is for what happens behind the kernel, hence the upper one. Nine
# in ten calls leave within 0.8 ms on a machine that is full, and reporting a late one costs six commands of Redis.
LEAST_LATE_SECONDS, MOST_LATE_SECONDS = 0.0005, 0.001

LANES, RESTING = redis_client.keys("lane:"), redis_client.keys("resting:")
# The script's verdict on a call whose key rests; other verdicts below 0 mean that it must never leave.
KEY_RESTS = -2

_refusal_logged = redis_client.Cooldown()


class Unavailable(Exception):
    """Redis cannot be asked, or refuses to write: no token, so no call."""


class TokenRefused(Exception):
    """The call has no slot, and nothing was sent. The lane was paused meanwhile, the call was revoked, its waiter counts as
    dead, or its connection was closed.
    """


class KeyRests(TokenRefused):
    """The provider told the call's key to wait, and `seconds` of that are left. Nothing was sent."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"its key rests for another {seconds:.1f} s")
        self.seconds = seconds


class SendOutcome(Enum):
    """Returns whether a revoked call had been sent, by the lane's log."""

    SENT = 1
    NEVER_SENT = 0
    UNKNOWN = -1


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The limit of a lane: at most `calls` in any `window_us`, kept apart by `guard_us` more."""

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
        """The bound for workers that reacquire. It is above `most_waiting` in a fast lane: calls take longer and shorter,
        and no worker should be sent away only to call another.
        """
        return self.most_waiting + self._overlapping

    @property
    def _overlapping(self) -> int:
        return PREPARING_US * self.calls // self.full_window_us


@dataclass(frozen=True, kw_only=True)
class LaneLimiter:
    """The limiter of one lane under the limits in force. Each method is one round trip, and raises `Unavailable`."""

    lane: str
    rate: Rate
    max_in_flight: int

    def waiter(self, name: str, *, broker_queue: str = "") -> Waiter:
        return Waiter(limiter=self, name=name, broker_queue=broker_queue)

    def revoke(self, call: str, *, age_seconds: float) -> SendOutcome:
        """Settles whether a call armed `age_seconds` ago was sent. From here on one that was not sent never will be."""
        return SendOutcome(self.run(TOKENS, "revoke", call, int(age_seconds * 1_000_000)))

    def pause(self, *, seconds: float) -> None:
        """Lets no call leave for so long. A longer pause that is under way stays."""
        self.run(TOKENS, "pause", int(seconds * 1_000_000))

    def resume(self) -> None:
        """Ends a pause. A lane whose log has just begun still waits a window, for the calls that it cannot know."""
        self.run(TOKENS, "resume")

    def rest_key(self, key: str, *, seconds: float) -> None:
        """Lets no call with this key leave for so long, nor any that was claimed already. Others leave."""
        self.run(TOKENS, "rest_key", key, int(seconds * 1_000_000))

    def end_rests(self) -> None:
        """Ends the rests of all keys."""
        self.run(TOKENS, "end_rests")

    def record_refusal(self, call: str, *, key: str = "", tenant: str = "") -> float | None:
        """Records that the provider refused a call as too early. Returns the milliseconds by which the guard is widened
        now, or None where the refusal says nothing of the guard.

        `key`, `tenant`: whose refusal it was, in a lane of several accounts; empty in a lane of one, which teaches itself.
        """
        margin = self.run(TOKENS, "record_refusal", call, key, tenant)
        return None if margin < 0 else margin / 1000

    def margin_ms(self) -> float:
        """Returns the milliseconds by which the lane has learned to widen its policy's guard."""
        with failing_closed():
            margin: Any = redis_client.of(settings.REDIS_URL).hget(self._key, "margin")
            return int(margin or 0) / 1000

    def run(self, script: str, operation: str, *arguments: Any) -> Any:
        """Returns the answer of an operation: an integer, or three for a redemption."""
        keys = [self._key, f"{self._key}:log", f"{self._key}:revoked"]
        limits = (self.rate.calls, self.rate.window_us, self.rate.guard_us, HORIZON_US)
        with failing_closed():
            return _script(settings.REDIS_URL, script)(keys=keys, args=[operation, *limits, *arguments])

    @property
    def _key(self) -> str:
        return f"{LANES}{{{self.lane}}}"


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """One worker's place in a lane: it waits for a slot, or has a call in flight. All methods raise `Unavailable`.

    `broker_queue`: the Redis list from which workers take their messages; empty where there is none.
    """

    limiter: LaneLimiter
    name: str
    broker_queue: str = ""

    def reserve(self) -> bool:
        """Returns whether the lane has room for one more to wait; then a worker should be told to acquire this waiter."""
        return bool(self._run("reserve"))

    def acquire(self) -> float | None:
        """Returns the seconds until the waiter's slot, or None where enough others wait."""
        wait = self._run("acquire")
        return None if wait < 0 else wait / 1_000_000

    def reacquire(self) -> float | None:
        """Waits again after a call. Returns the seconds until the next slot, or None where enough others wait; the waiter
        is released then.
        """
        wait = self._run("reacquire", self.limiter.rate.most_staying)
        return None if wait < 0 else wait / 1_000_000

    def start(self, *, seconds: float, successor: str = "") -> list[str]:
        """Counts the waiter as in flight, for so long at most. Returns the names of the waiters that were reserved to wait
        in its stead, all made from `successor`.
        """
        return _numbered(successor, self._run("start", int(seconds * 1_000_000), successor))

    def release(self, *, successor: str = "") -> list[str]:
        """Frees the waiter. Returns the names of the waiters that were reserved, all made from `successor`."""
        return _numbered(successor, self._run("release", successor))

    def redeem(self, call: str, key: str = "") -> tuple[bool, float]:
        """Returns whether the call may leave, and the instant to leave or to ask again at, by the local monotonic clock.
        Raises `TokenRefused` and `KeyRests` too.
        """
        asked_at = time.monotonic()
        verdict, instant, now = self.limiter.run(TOKENS, "redeem", self.name, call, key)
        if verdict == KEY_RESTS:
            raise KeyRests((instant - now) / 1_000_000)
        if verdict < 0:
            raise TokenRefused
        return bool(verdict), instant / 1_000_000 + _redis_clock.compare(now, asked_at=asked_at)

    def confirm(self, call: str) -> None:
        """Asks again for a call that was redeemed some while ago and has not left. Raises `TokenRefused` where others
        left meanwhile.
        """
        if not self.limiter.run(TOKENS, "confirm", call):
            raise TokenRefused

    def postpone(self, call: str, seconds: float) -> None:
        """Records that a call left so much later than it was redeemed for."""
        self.limiter.run(TOKENS, "postpone", call, int(seconds * 1_000_000))

    def _run(self, operation: str, *arguments: Any) -> Any:
        limiter = self.limiter
        bounds = (limiter.rate.most_waiting, limiter.max_in_flight, WAITER_LEASE_US, self.broker_queue)
        return limiter.run(WAITERS, operation, self.name, *bounds, *arguments)


@dataclass(kw_only=True)
class Token:
    """Leave to make one call at one instant. `providers.http` redeems it just before the first byte.

    `slot_at`: when the waiter's slot is expected; `sent_at`: the instant that it was redeemed for, None before. Both are by
    the local monotonic clock. `key`: names the key that the call is made with, as in `LaneLimiter.rest_key`.
    """

    waiter: Waiter
    call: str
    key: str = ""
    slot_at: float = 0.0
    sent_at: float | None = None

    def redeem(self) -> None:
        """Returns at the instant to send. Raises `TokenRefused` or `Unavailable`: then nothing may be sent."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        # Asked any earlier, the log would say no more than how long to wait.
        _sleep_until(self.slot_at - EARLY_SECONDS)
        while True:
            granted, instant = self.waiter.redeem(self.call, self.key)
            if granted:
                break
            if instant > deadline:
                raise TokenRefused
            _sleep_until(instant - EARLY_SECONDS)
        self.sent_at = instant
        _spin_until(instant)
        if time.monotonic() - instant > self.late_after_seconds:
            self._confirm()

    def _confirm(self) -> None:
        """Asks again, because leave came late or the processor was elsewhere: others may have left since. The log must say
        so before this call leaves, for its worker may end right after.
        """
        asked_at = time.monotonic()
        self.sent_at = None
        self.waiter.confirm(self.call)
        self.sent_at = asked_at

    @property
    def late_after_seconds(self) -> float:
        """A call that leaves later than this after its instant would let the next one come too close to it."""
        half_guard = self.waiter.limiter.rate.guard_us / 2_000_000
        return min(MOST_LATE_SECONDS, max(LEAST_LATE_SECONDS, half_guard))

    def postpone(self, seconds: float) -> None:
        """Records that the call left so much later than it was redeemed for: calls after it keep their distance from then."""
        with suppress(Unavailable):
            self.waiter.postpone(self.call, seconds)


class RedisClock:
    """Compares the clock of Redis with this process' monotonic clock.

    An answer arrives after Redis read its clock; the faster the exchange, the closer the two. The fastest recent exchange
    therefore says where that clock is. The present exchange bounds it, because clocks drift and are set.
    """

    def __init__(self) -> None:
        self._exchanges: deque[tuple[float, float]] = deque(maxlen=EXCHANGES)
        self._lock = Lock()

    def compare(self, redis_us: int, *, asked_at: float) -> float:
        """Returns the seconds by which the local clock is ahead of that of Redis, which said `redis_us` when asked."""
        answered_at = time.monotonic()
        # Other threads of the process append meanwhile, also while a copy would be made.
        with self._lock:
            self._exchanges.append((answered_at, answered_at - redis_us / 1_000_000))
            recent = [ahead for noted_at, ahead in self._exchanges if noted_at > answered_at - EXCHANGE_SECONDS]
        fastest = min(recent)
        return max(fastest, asked_at - redis_us / 1_000_000)


_redis_clock = RedisClock()


def _numbered(successor: str, count: int) -> list[str]:
    return [f"{successor}:{number}" for number in range(count)]


def _sleep_until(instant: float) -> None:
    remaining = instant - time.monotonic()
    if remaining > 0:
        time.sleep(remaining)


def _spin_until(instant: float) -> None:
    """Waits for 3 ms at most. A sleep would end 0.1 ms late, and on a busy machine 1 ms late."""
    while time.monotonic() < instant:
        pass


def rest_account(name: str, *, seconds: float) -> None:
    """Notes that an account is not called for so long, while its lane goes on for others. Raises `Unavailable`."""
    with failing_closed():
        redis_client.of(settings.REDIS_URL).set(f"{RESTING}{name}", "", px=max(1, round(seconds * 1000)))


def account_rests_for(name: str) -> float:
    """Returns the seconds for which an account still rests, or 0. Raises `Unavailable`."""
    with failing_closed():
        milliseconds: Any = redis_client.of(settings.REDIS_URL).pttl(f"{RESTING}{name}")
        return max(0.0, float(milliseconds) / 1000)


def connect() -> None:
    """Opens the connection to Redis and compares clocks. Raises `Unavailable`."""
    with failing_closed():
        client = redis_client.of(settings.REDIS_URL)
        client.ping()
        for _ in range(COMPARISONS):
            asked_at = time.monotonic()
            seconds, microseconds = client.time()
            _redis_clock.compare(seconds * 1_000_000 + microseconds, asked_at=asked_at)


@contextmanager
def failing_closed() -> Iterator[None]:
    """Raises `Unavailable` in place of any error of Redis."""
    try:
        yield
    except redis.RedisError as error:
        if isinstance(error, redis.ResponseError) and not _refusal_logged.active:
            # A replica after a fail-over answers so, a full server, or a failed disk. Workers ask ten times a second, so that
            # not every refusal is logged.
            _refusal_logged.start()
            log.error("Redis refuses: %s", error)
        raise Unavailable from error


@cache
def _script(url: str, operations: str) -> Script:
    return redis_client.of(url).register_script(LANE + operations)
