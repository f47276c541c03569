"""Tests what a lane's log says of a call, also where Redis forgot, restarted or is unreachable."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pytest_django import Settings

from accounts import redis_client
from config import embedded
from providers import limiter
from providers.limiter import LaneLimiter, Rate, SendOutcome, Token, TokenRefused, Unavailable
from tests.providers.lanes import LoggedLane, a_rate
from tests.providers.test_limiter import is_sent
from tests.racing import at_once

# What Redis may have forgotten


def test_a_new_lane_waits_a_window_before_its_first_call() -> None:
    lane = LoggedLane(a_rate(1, 50, 5), new=True)
    begin = lane.now()
    lane.token().redeem()
    assert lane.instants()[0] >= begin + 55_000


@pytest.mark.parametrize("rate", [a_rate(1, 50), a_rate(10, 100)], ids=str)
def test_a_flushed_lane_waits_a_window(rate: Rate) -> None:
    lane = LoggedLane(rate)
    lane.token().redeem()
    lane.flush()
    begin = lane.now()
    lane.token().redeem()
    assert lane.instants()[0] >= begin + rate.full_window_us


def test_another_redis_waits_a_window_and_keeps_no_waiters() -> None:
    lane = LoggedLane(a_rate(1, 50))
    while lane.waiter().reserve():
        pass
    lane.set(server="another")
    begin = lane.now()
    assert lane.waiter().reserve()
    lane.token().redeem()
    assert lane.instants()[0] >= begin + 50_000


ASKING: dict[str, Callable[[LoggedLane], object]] = {
    "reserve": lambda lane: lane.waiter().reserve(),
    "acquire": lambda lane: lane.waiter().acquire(),
    "reacquire": lambda lane: lane.waiter().reacquire(),
    "redeem": lambda lane: is_sent(lane.token(seconds=0)),
    "revoke": lambda lane: lane.revoke("mine"),
    "pause": lambda lane: lane.pause(0),
    "resume": lambda lane: lane.limiter.resume(),
}


@pytest.mark.parametrize("asked", ASKING)
def test_another_redis_is_noticed_whatever_it_is_asked_first(asked: str) -> None:
    lane = LoggedLane(a_rate(1, 60_000))
    lane.set(server="another")
    begin = lane.now()
    ASKING[asked](lane)
    assert lane.get("closed_until") >= begin + 60_000_000


# Revoking, and redeeming twice


def test_a_call_cannot_be_redeemed_twice() -> None:
    lane = LoggedLane()
    token = lane.token()
    token.redeem()
    with pytest.raises(TokenRefused):
        token.redeem()
    assert len(lane.instants()) == 1


def test_of_many_that_redeem_one_call_one_may_send_it() -> None:
    lane = LoggedLane(a_rate(1000, 10))
    sent: list[bool] = []
    at_once([lambda: sent.append(is_sent(lane.token("same"))) for _ in range(10)])
    assert sum(sent) == len(lane.instants()) == 1


def test_a_revoked_call_was_never_sent_and_never_will_be() -> None:
    lane = LoggedLane()
    token = lane.token("mine")
    assert lane.revoke("mine") is SendOutcome.NEVER_SENT
    with pytest.raises(TokenRefused):
        token.redeem()
    assert lane.revoke("mine") is SendOutcome.NEVER_SENT


def test_a_redeemed_call_was_sent() -> None:
    lane = LoggedLane()
    lane.token("mine").redeem()
    assert lane.revoke("mine") is SendOutcome.SENT


def test_a_race_of_revoking_and_redeeming_has_one_winner() -> None:
    for _ in range(20):
        lane = LoggedLane(a_rate(1000, 10))
        sent, fate = at_once([partial(is_sent, lane.token("mine")), partial(lane.revoke, "mine")])
        assert fate is (SendOutcome.SENT if sent else SendOutcome.NEVER_SENT)


@pytest.mark.parametrize("age_seconds", [60, 0.5])
def test_of_a_call_that_may_be_older_than_the_log_nobody_knows(age_seconds: float) -> None:
    lane = LoggedLane(new=True)
    lane.pause(0)
    assert lane.revoke("mine", age_seconds=age_seconds) is SendOutcome.UNKNOWN


def test_a_call_of_which_nobody_knows_is_not_sent_after_all() -> None:
    lane = LoggedLane(new=True)
    assert lane.revoke("mine", age_seconds=60) is SendOutcome.UNKNOWN
    with pytest.raises(TokenRefused):
        lane.token("mine").redeem()


def test_a_worker_that_slept_through_its_time_sends_nothing() -> None:
    lane = LoggedLane()
    token = lane.token(seconds=0.03)
    time.sleep(0.03)
    with pytest.raises(TokenRefused):
        token.redeem()


def test_a_worker_whose_waiter_redis_forgot_sends_nothing() -> None:
    lane = LoggedLane()
    token = lane.token()
    lane.flush()
    with pytest.raises(TokenRefused):
        token.redeem()


def test_of_a_call_older_than_the_horizon_nobody_knows() -> None:
    assert LoggedLane().revoke("mine", age_seconds=limiter.HORIZON_US / 1_000_000 + 1) is SendOutcome.UNKNOWN


def test_the_log_names_a_call_that_is_older_than_its_beginning() -> None:
    lane = LoggedLane()
    lane.token("mine").redeem()
    lane.set(log_began=lane.now())
    assert lane.revoke("mine", age_seconds=60) is SendOutcome.SENT


# What is forgotten


def test_a_revoked_call_is_forgotten_after_a_quarter_of_an_hour() -> None:
    lane = LoggedLane()
    lane.redis.zadd(lane.key("revoked"), {"old": lane.now() - 901_000_000, "younger": lane.now() - 600_000_000})
    lane.revoke("new")
    assert lane.redis.zrange(lane.key("revoked"), 0, -1) == ["younger", "new"]


def test_a_call_that_left_a_quarter_of_an_hour_ago_is_forgotten_in_the_end() -> None:
    """One in 16 redemptions does it, by chance."""
    lane = LoggedLane(a_rate(1000, 10))
    lane.redis.zadd(lane.key("log"), {"old": lane.now() - 901_000_000, "younger": lane.now() - 600_000_000})
    assert any("old" not in lane.log() for _ in range(500) if is_sent(lane.token()))
    assert "younger" in lane.log()


# Redis is unreachable


@pytest.fixture
def brief(settings: Settings) -> Settings:
    """Sets a short time limit for Redis."""
    settings.REDIS_TIMEOUT_SECONDS = 0.2
    return settings


def assert_fails_closed() -> None:
    lane = LaneLimiter(lane=str(uuid4()), rate=a_rate(), max_in_flight=1)
    waiter = lane.waiter("mine")
    revoking = partial(lane.revoke, "mine", age_seconds=0)
    pausing = partial(lane.pause, seconds=1)
    for ask in (waiter.reserve, waiter.acquire, Token(waiter=waiter, call="mine").redeem, revoking, pausing):
        with pytest.raises(Unavailable):
            ask()


def test_no_call_leaves_where_redis_refuses(brief: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        brief.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}"
    assert_fails_closed()


def test_no_call_leaves_where_redis_is_silent_and_each_asks_it_once_for_its_time(brief: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        brief.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}"
        assert_fails_closed()
    limits = redis_client.of(brief.REDIS_URL).get_connection_kwargs()
    assert {limits["socket_timeout"], limits["socket_connect_timeout"]} == {0.2}
    assert limits["retry"].get_retries() == 0


def test_no_call_leaves_where_redis_does_not_know_us(brief: Settings) -> None:
    url = urlsplit(brief.REDIS_URL)
    brief.REDIS_URL = url._replace(netloc=f":wrong@{url.hostname}:{url.port}").geturl()
    assert_fails_closed()


Running = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def redis_of_our_own(settings: Settings) -> Iterator[Running]:
    """Runs a Redis of this test alone each time it is entered, over the same data."""
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
        lane = LoggedLane(a_rate(1, 300))
        lane.token("before").redeem()
    with redis_of_our_own():
        begin = lane.now()
        assert lane.revoke("before") is SendOutcome.SENT
        lane.token("after").redeem()
        assert lane.log()["after"] >= begin + 300_000
        assert lane.revoke("older", age_seconds=30) is SendOutcome.UNKNOWN


def test_no_call_leaves_where_redis_does_not_write(redis_of_our_own: Running) -> None:
    with redis_of_our_own():
        lane = LoggedLane()
        lane.redis.config_set("maxmemory", "1")
        assert_fails_closed()


def test_no_call_leaves_on_an_answer_that_comes_too_late(redis_of_our_own: Running, brief: Settings) -> None:
    with redis_of_our_own():
        lane = LoggedLane()
        token = lane.token()
        lane.redis.client_pause(300)
        with pytest.raises(Unavailable):
            token.redeem()
        assert token.sent_at is None
