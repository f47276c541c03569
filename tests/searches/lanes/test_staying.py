"""Tests that a worker stays with a lane for a while, whichever server restarts meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Callable
from threading import Timer
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from django.db import connection
from pytest_django import Settings

from providers import policies
from providers.limiter import Waiter
from providers.models import Policy
from searches.calls import settlement, worker
from searches.lanes import wakeups
from searches.models import Lane, Lookup
from tests.providers.conftest import Site
from tests.searches.lives import Submit

pytestmark = pytest.mark.django_db
Meanwhile = Callable[[str, Callable[[], Any]], None]


@pytest.fixture(autouse=True)
def brisk(policy: Policy, redis_client: redis.Redis, site: Site, settings: Settings) -> None:
    """Gives the lane a short interval, and a log that began long ago."""
    settings.MODASH_BASE_URL = f"{site.url}/modash/v1"
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0, total_timeout_ms=2000)
    redis_client.flushdb()
    policies.lane_limiter("modash", Policy.objects.get()).pause(seconds=0)
    redis_client.hset("lane:{modash}", "log_began", 0)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Returns `meanwhile`: `meanwhile("reacquire", happen)` calls `happen` once, just before the waiter does that."""

    def meanwhile(what: str, happen: Callable[[], Any]) -> None:
        present = getattr(Waiter, what)

        def with_it(waiter: Waiter, *arguments: Any, **named: Any) -> Any:
            monkeypatch.setattr(Waiter, what, present)
            happen()
            return present(waiter, *arguments, **named)

        monkeypatch.setattr(Waiter, what, with_it)

    return meanwhile


def away(settings: Settings, *, seconds: float) -> None:
    """Makes Redis unreachable for so long."""
    returns = Timer(seconds, setattr, (settings, "REDIS_URL", settings.REDIS_URL))
    with socket.create_server(("127.0.0.1", 0)) as gone:
        settings.REDIS_URL = f"redis://127.0.0.1:{gone.getsockname()[1]}"
    returns.start()


def stay(seconds: float = 30) -> Lookup:
    worker.run("modash", str(uuid4()), stay_seconds=seconds)
    return Lookup.objects.get()


def test_it_stays_while_there_is_more_to_do(submit: Submit) -> None:
    submit(pages=3)
    lookup = stay()
    assert (lookup.status, lookup.calls.count()) == ("succeeded", 3)


def test_when_its_time_is_over_it_sends_a_wake_up_behind_those_of_other_lanes(
    submit: Submit, redis_client: redis.Redis
) -> None:
    submit(pages=3)
    redis_client.delete("celery:searches")
    redis_client.lpush("celery:searches", "another lane's")
    assert stay(0).pages_done == 1
    queued = [redis_client.rpop("celery:searches") for _ in range(2)]
    assert queued[0] == b"another lane's"
    assert b"searches.tasks.run" in (queued[1] or b"")


def test_it_continues_when_redis_is_back(submit: Submit, settings: Settings) -> None:
    submit()
    away(settings, seconds=0.3)
    assert stay().status == "succeeded"


def test_it_looks_for_redis_for_longer_than_it_stays(submit: Submit, settings: Settings) -> None:
    submit()
    away(settings, seconds=1.0)
    assert stay(0.3).status == "succeeded"


def test_a_full_lane_continues_when_redis_was_back_before_a_call_was_made(
    submit: Submit, settings: Settings, meanwhile: Meanwhile
) -> None:
    """Redis was not told of the call that came to nothing: its waiter counts as under way."""
    submit()
    Policy.objects.update(max_in_flight=1)
    meanwhile("redeem", lambda: away(settings, seconds=0.3))
    assert stay().status == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_it_continues_when_the_database_was_restarted(submit: Submit, meanwhile: Meanwhile) -> None:
    submit(pages=3)
    meanwhile("reacquire", lose_the_connection)
    assert stay().status == "succeeded"


def lose_the_connection() -> None:
    """Ends the connections, as a restart does."""
    connection.ensure_connection()
    info = connection.connection.info
    server = {"host": info.host, "port": info.port, "dbname": info.dbname, "user": info.user, "password": info.password}
    with psycopg.connect(**server) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (info.backend_pid,))


def test_what_operators_change_is_in_force_at_its_next_visit(
    submit: Submit, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(pages=3)
    meanwhile("redeem", lambda: Policy.objects.update(calls=500, max_in_flight=3))
    went_by, present = [], Waiter.reacquire

    def noted(waiter: Waiter) -> float | None:
        went_by.append((waiter.limiter.rate.calls, waiter.limiter.max_in_flight))
        return present(waiter)

    monkeypatch.setattr(Waiter, "reacquire", noted)
    stay()
    assert went_by[-1] == (500, 3)


def test_an_error_of_ours_leaves_no_waiter_behind(submit: Submit, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    submit()
    Policy.objects.update(max_in_flight=1)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(settlement, "answered", broken)
    with pytest.raises(RuntimeError):
        stay()
    assert wakeups.waiter(lane, Policy.objects.get(), "another").reserve()
