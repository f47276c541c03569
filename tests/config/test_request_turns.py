"""Requests of a web process run in turns by tenant: many of one tenant delay those of others little, and hold few threads."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core import signals
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections, connection, transaction
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import keys, redis_client
from accounts.models import Mode, Tenant
from accounts.web import rate_limits, turns
from accounts.web.bulkhead import Busy
from config import callers, request_turns
from config.callers import Stranger
from config.request_turns import ALONE, AT_ONCE, CONCURRENCY, MANY, MOST, TOGETHER, InTurns, RequestTurns

GREEDY, OTHER = "greedy", "other"


class Crowd:
    """Requests, each in a thread, that hold their turns until they are let go."""

    def __init__(self, requests: RequestTurns) -> None:
        self.requests = requests
        self.running: list[Hashable] = []
        self.go = threading.Event()
        self.threads: list[threading.Thread] = []

    def send(self, owner: Hashable, times: int = 1) -> None:
        for _ in range(times):
            taken = self.requests.taken_by(owner)
            self.threads.append(threading.Thread(target=self._work, args=(owner,)))
            self.threads[-1].start()
            until(lambda: self.requests.taken_by(owner) > taken)  # noqa: B023 (called at once)

    def _work(self, owner: Hashable) -> None:
        with self.requests.turn_of(owner):
            self.running.append(owner)
            self.go.wait(20)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def crowd() -> Iterator[Crowd]:
    made = Crowd(RequestTurns())
    with ExitStack() as stack:
        stack.callback(made.go.set)
        yield made
        made.go.set()
        for thread in made.threads:
            thread.join()
    assert not made.requests.running
    assert not made.requests.waiting


def test_a_tenant_that_is_alone_runs_as_many_as_there_may_be() -> None:
    with crowd() as requests:
        requests.send(GREEDY, AT_ONCE + 5)
        assert requests.running == [GREEDY] * AT_ONCE


def test_a_tenant_runs_few_while_another_is_there_and_for_a_moment_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_turns, "PRESENT_SECONDS", 3600.0)
    with crowd() as requests:
        with requests.requests.turn_of(OTHER):
            requests.send(GREEDY, TOGETHER + 5)
            assert requests.running == [GREEDY] * TOGETHER
        requests.send(GREEDY)
        assert requests.running == [GREEDY] * TOGETHER


def test_beside_others_a_crowd_runs_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_turns, "YIELD_SECONDS", 0.0)
    requests = RequestTurns()
    with requests.turn_of(OTHER):
        for _ in range(TOGETHER + MANY + 2):
            requests._enter(GREEDY)
        running = []
        while requests.running[GREEDY]:
            requests.leave(GREEDY)
            running.append(requests.running[GREEDY])
    assert running[:6] == [3, 2, 1, 1, TOGETHER, TOGETHER]


def test_a_crowd_waits_for_others_that_run_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = RequestTurns()
    for owner in (OTHER, *[GREEDY] * (MANY + TOGETHER + 2)):
        requests._enter(owner)
    for _ in range(TOGETHER):
        requests.leave(GREEDY)
    assert requests.running == {OTHER: 1}
    requests.leave(OTHER)
    assert requests.running == {GREEDY: 1}
    requests._enter(OTHER)
    monkeypatch.setattr(request_turns, "YIELD_SECONDS", 0.0)
    requests.leave(GREEDY)
    assert requests.running[GREEDY] >= 1


def test_the_next_tenant_does_not_wait_for_the_requests_of_the_first() -> None:
    with crowd() as requests:
        requests.send(GREEDY, AT_ONCE - 1)
        requests.send(OTHER)
        requests.send(GREEDY, 3)
        until(lambda: requests.running.count(OTHER) == 1)
        assert requests.running.count(GREEDY) == AT_ONCE - 1


def test_the_turn_of_a_request_that_waits_for_something_else_is_another_ones() -> None:
    with crowd() as requests:
        requests.send(GREEDY, AT_ONCE - 1)
        with requests.requests.turn_of(GREEDY), turns.held(requests.requests, GREEDY):
            requests.send(GREEDY)
            assert len(requests.running) == AT_ONCE - 1
            with turns.aside():
                until(lambda: len(requests.running) == AT_ONCE)
                threading.Timer(0.05, requests.go.set).start()
            assert requests.requests.running[GREEDY] >= 1


@pytest.mark.django_db(transaction=True)
def test_a_request_that_steps_aside_keeps_no_connection_but_that_of_a_transaction() -> None:
    requests = RequestTurns()
    with requests.turn_of(GREEDY), turns.held(requests, GREEDY):
        connection.ensure_connection()
        with turns.aside():
            assert connection.connection is None
            assert not requests.running
        with transaction.atomic(), turns.aside():
            assert connection.connection is not None
            assert requests.running[GREEDY] == 1
    assert not requests.running


def asked(
    application: Any, key: str, path: str = "/v1/searches", **headers: str
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Returns the status, the headers and the body of the answer."""
    said: list[Any] = []
    environ = RequestFactory().get(path, headers={"Authorization": f"Bearer {key}", **headers}).environ
    environ["wsgi.input"] = io.BytesIO()
    answer = application(environ, lambda *started: said.extend(started))
    return int(said[0][:3]), dict(said[1]), json.loads(b"".join(answer))


@pytest.fixture
def application() -> Iterator[InTurns]:
    """Leaves the test its connection, in which its transaction is."""
    ends = (signals.request_started, signals.request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    yield InTurns(WSGIHandler())
    for signal in ends:
        signal.connect(close_old_connections)
    assert not request_turns.requests.running
    assert not request_turns.threads.taken


def secret_of(tenant: Tenant) -> str:
    return keys.issue(tenant, Mode.LIVE)[1]


def test_a_tenant_that_is_alone_holds_nearly_all_threads_and_leaves_some(application: InTurns, bob: Tenant) -> None:
    with ExitStack() as stack:
        for _ in range(ALONE):
            stack.enter_context(request_turns.threads.acquire(GREEDY))
        with pytest.raises(Busy), request_turns.threads.acquire(GREEDY):
            pass
        assert asked(application, secret_of(bob))[0] == 200


def test_beside_another_one_a_tenant_holds_half_of_the_threads_and_others_are_served(
    application: InTurns, alice: Tenant, bob: Tenant
) -> None:
    alices, bobs = secret_of(alice), secret_of(bob)
    assert [asked(application, key)[0] for key in (alices, bobs)] == [200, 200]
    with ExitStack() as stack:
        stack.enter_context(request_turns.threads.acquire(OTHER))
        for _ in range((MOST - 1) // 2 + 1):
            stack.enter_context(request_turns.threads.acquire(str(alice.pk)))
        with pytest.raises(Busy), request_turns.threads.acquire(str(alice.pk)):
            pass
        status, headers, body = asked(application, alices, **{"X-Request-Id": "mine-12345"})
        assert (status, headers["Retry-After"], body["code"]) == (429, "1", "rate_limited")
        assert {name: headers[name] for name in CONCURRENCY} == CONCURRENCY
        assert body["detail"].startswith("Too many requests are under way at once; send fewer at a time")
        assert headers["X-Request-Id"] == body["request_id"] == "mine-12345"
        assert headers["Content-Type"] == "application/problem+json"
        assert asked(application, bobs)[0] == 200
    assert asked(application, alices)[0] == 200


def test_keys_that_nobody_has_are_all_of_their_address(application: InTurns, alice: Tenant) -> None:
    alices = secret_of(alice)
    assert asked(application, alices)[0] == 200
    with ExitStack() as stack:
        for _ in range(ALONE):
            stack.enter_context(request_turns.threads.acquire(Stranger("127.0.0.1")))
        assert [asked(application, key)[0] for key in ("sl_live_x", "", "sl_test_y")] == [429] * 3
        assert asked(application, alices)[0] == 200


def test_a_revoked_key_is_unknown_again(application: InTurns, alice: Tenant) -> None:
    key, secret = keys.issue(alice, Mode.LIVE)
    assert asked(application, secret)[0] == 200
    keys.revoke(key)
    assert asked(application, secret)[0] == 401
    environ = RequestFactory().get("/v1/searches", headers={"Authorization": f"Bearer {secret}"}).environ
    assert application._callers.of(environ) == Stranger("127.0.0.1")


def test_strangers_have_the_turns_of_one_tenant_however_many_addresses_they_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_turns, "PRESENT_SECONDS", 3600.0)
    with crowd() as requests, requests.requests.turn_of(OTHER):
        for number in range(5):
            requests.send(Stranger(f"198.51.100.{number}"))
        assert len(requests.running) == 1
        requests.send(GREEDY)
        until(lambda: GREEDY in requests.running)


@pytest.mark.parametrize("is_revoked", [True, False])
def test_the_refusal_of_a_void_key_is_repeated_without_a_query(
    is_revoked: bool,
    application: InTurns,
    alice: Tenant,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(callers, "REPEATED_SECONDS", 3600.0)
    monkeypatch.setattr(request_turns, "PAUSE_SECONDS", (0.0, 0.0))
    key, secret = keys.issue(alice, Mode.LIVE)
    if is_revoked:
        keys.revoke(key)
    else:
        key.delete()
    first = asked(application, secret, **{"X-Request-Id": "mine-12345"})
    assert first[2]["code"] == ("api_key_revoked" if is_revoked else "authentication_failed")
    with django_assert_num_queries(0):
        again = asked(application, secret, **{"X-Request-Id": "mine-12345"})
    assert again[::2] == first[::2]
    assert (
        again[1].items()
        >= {name: first[1][name] for name in ("WWW-Authenticate", "X-Request-Id", "Cache-Control")}.items()
    )
    assert asked(application, secret, path="/v1/openapi.json")[0] == 200
    assert asked(application, secret_of(alice))[0] == 200


def test_a_key_that_may_be_valid_again_is_asked_for_each_time(application: InTurns, alice: Tenant) -> None:
    key, secret = keys.issue(alice, Mode.LIVE, expires_at=timezone.now() - timedelta(days=1))
    assert asked(application, secret)[0] == 401
    key.expires_at = None
    key.save()
    assert asked(application, secret)[0] == 200


def test_past_the_rate_a_caller_that_goes_on_costs_no_query(
    application: InTurns,
    alice: Tenant,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limits, "REPEATED_SECONDS", 3600.0)
    monkeypatch.setattr(request_turns, "PAUSE_SECONDS", (0.0, 0.0))
    secret = secret_of(alice)
    alice.requests_per_second = 1
    alice.save()
    answers = [asked(application, secret) for _ in range(30)]
    refused = next(answer for answer in answers if answer[0] == 429)
    with django_assert_num_queries(0):
        again = asked(application, secret)
    assert again[0] == 429
    for name in ("Retry-After", "RateLimit", "RateLimit-Policy"):
        assert again[1][name] == refused[1][name]
    assert again[2]["detail"] == refused[2]["detail"]
    monkeypatch.setattr(rate_limits, "_refused", {})
    bucket = rate_limits.Bucket(key=f"requests:{alice.pk}", most=10, rule="")
    rate_limits.forget(redis_client.of(settings.REDIS_URL), bucket)
    assert asked(application, secret)[0] == 200


def test_other_paths_need_no_turn(application: InTurns, db: None) -> None:
    with ExitStack() as stack:
        for _ in range(ALONE):
            stack.enter_context(request_turns.threads.acquire(Stranger("127.0.0.1")))
        said: list[Any] = []
        environ = RequestFactory().get("/healthz").environ
        application(environ, lambda *started: said.extend(started))
    assert said[0].startswith("200")
