"""`Prefer: wait`: answers at the end, at a change, at the end of patience, or at once where too many wait.

Real transactions and threads: what wakes a waiter is a commit by somebody else.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, transaction
from django.test import RequestFactory
from django.test.client import MULTIPART_CONTENT
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKey, Tenant
from config import body_slots
from config.postgresql.base import DatabaseWrapper
from providers import policies
from providers.keyring import credentials
from searches.api import long_poll
from searches.lanes import wakeups
from searches.lifecycle import cancellation, completion, live_updates
from searches.models import Lane, Search
from tests.api.background import meanwhile
from tests.api.examples import PICTURE, lookup, made, order
from tests.conftest import ClientOf
from tests.patience import until

# Far less than whoever waits would wait, and far more than an answer takes on a busy machine.
SOON = 30.0

pytestmark = pytest.mark.django_db(transaction=True)


def waiting_read(api: APIClient, search: Search, seconds: int, **headers: str) -> Callable[[], Any]:
    return lambda: api.get(f"/v1/searches/{search.pk}", headers={"Prefer": f"wait={seconds}", **headers})


def until_some_wait(number: int = 1) -> None:
    """Until so many wait."""
    until(lambda: long_poll.slots.taken.total() >= number)
    time.sleep(0.1)  # and have looked, and listen, most likely


def only_ours_is_taken() -> bool:
    pool = cast(DatabaseWrapper, connection).pool.get_stats()
    return bool(pool["pool_available"] == pool["pool_size"] - 1)


@transaction.atomic
def touch(search: Search) -> None:
    completion.recount(completion.lock(search.pk))


def test_an_end_wakes_the_waiter_at_once(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "LOOK_SECONDS", 60)
    search = made(api)
    with meanwhile(waiting_read(api, search, 60)) as [answer]:
        until_some_wait()
        cancellation.cancel(search)
        # Without the message it would look, and lose its patience, in a minute.
        response = answer.result(SOON)
    assert (response.status_code, response.json()["status"]) == (200, "canceled")
    assert response["Preference-Applied"] == "wait=60"


def test_a_create_can_wait_for_its_end(api: APIClient) -> None:
    def create() -> Any:
        return api.post("/v1/searches", order(), format="json", headers={"Prefer": "wait=30"})

    with meanwhile(create) as [answer]:
        until_some_wait()
        cancellation.cancel(Search.objects.get())
        response = answer.result()
    assert (response.status_code, response.json()["status"]) == (202, "canceled")
    assert response["Preference-Applied"] == "wait=30"


@pytest.mark.parametrize("as_file", [True, False])
def test_a_body_gives_its_share_of_memory_back_before_its_request_waits(api: APIClient, as_file: bool) -> None:
    file = SimpleUploadedFile("picture.jpg", PICTURE, content_type="image/jpeg")
    sent = {"image": file, "request": json.dumps({"lookups": [lookup()]})} if as_file else order()
    content_type = MULTIPART_CONTENT if as_file else "application/json"
    told: Any = api.defaults
    made = RequestFactory(**told).post("/v1/searches", sent, content_type, headers={"Prefer": "wait=30"})
    statuses: list[str] = []
    serve = body_slots.Bounded(WSGIHandler())
    with meanwhile(lambda: serve(made.environ, lambda status, _: statuses.append(status))) as [answer]:
        until_some_wait()
        assert not body_slots.memory._taken
        cancellation.cancel(Search.objects.get())
        assert b'"canceled"' in b"".join(answer.result())
    assert statuses == ["202 Accepted"]


ENDS: dict[str, tuple[Callable[[ApiKey], object], int, str]] = {
    "revoked": (keys.revoke, 401, "api_key_revoked"),
    "expired": (lambda key: changed(key, expires_at=timezone.now()), 401, "api_key_expired"),
    "without the scope": (lambda key: changed(key, scopes=["billing:read"]), 403, "scope_missing"),
    "suspended": (lambda key: Tenant.objects.update(suspended_at=timezone.now()), 403, "tenant_suspended"),
}


def changed(key: ApiKey, **columns: Any) -> int:
    return ApiKey.objects.filter(pk=key.pk).update(**columns)


@pytest.mark.parametrize("end", ENDS)
def test_a_key_that_ends_while_it_waits_is_answered_as_a_new_request_would_be(
    api: APIClient, alice: Tenant, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(long_poll, "LOOK_SECONDS", 0.1)
    search, (act, status, code) = made(api), ENDS[end]
    key = ApiKey.objects.get()
    created = partial(api.post, "/v1/searches", order(), format="json", headers={"Prefer": "wait=60"})
    with meanwhile(waiting_read(api, search, 60), created) as answers:
        until_some_wait(2)
        act(key)
        for answer in answers:
            response = answer.result(SOON)
            assert (response.status_code, response.json()["code"]) == (status, code)


def test_any_change_wakes_who_knows_a_version(api: APIClient) -> None:
    search = made(api)
    with meanwhile(waiting_read(api, search, 30, **{"If-None-Match": 'W/"1"'})) as [answer]:
        until_some_wait()
        touch(search)
        response = answer.result()
    assert (response.status_code, response["ETag"]) == (200, 'W/"2"')
    assert response.json()["status"] == "queued"


def test_who_knows_no_version_waits_for_the_end(api: APIClient) -> None:
    search = made(api)
    with meanwhile(waiting_read(api, search, 30)) as [answer]:
        until_some_wait()
        touch(search)
        time.sleep(0.3)
        assert not answer.done()
        cancellation.cancel(search)
        assert answer.result().json()["version"] == 3


def test_patience_ends(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "LOOK_SECONDS", 60)
    search = made(api)
    began = time.monotonic()
    response = waiting_read(api, search, 1)()
    assert 1 <= time.monotonic() - began < SOON
    assert (response.status_code, response.json()["status"]) == (200, "queued")
    assert response["Preference-Applied"] == "wait=1"


def test_patience_ends_in_a_304_where_nothing_changed(api: APIClient) -> None:
    response = waiting_read(api, made(api), 1, **{"If-None-Match": 'W/"1"'})()
    assert (response.status_code, response["Preference-Applied"]) == (304, "wait=1")


def test_nobody_waits_for_what_has_ended(api: APIClient) -> None:
    search = made(api)
    cancellation.cancel(search)
    began = time.monotonic()
    assert waiting_read(api, search, 60)().status_code == 200
    assert waiting_read(api, search, 60, **{"If-None-Match": "*"})().status_code == 304
    assert time.monotonic() - began < SOON


def test_past_the_bound_the_answer_comes_at_once(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "WAITERS_PER_PROCESS", 1)
    search = made(api)
    with meanwhile(waiting_read(api, search, 30)) as [first]:
        until_some_wait()
        second = waiting_read(api, search, 30)()
        assert not first.done()
        cancellation.cancel(search)
        assert first.result()["Preference-Applied"] == "wait=30"
    assert (second.status_code, second.json()["status"]) == (200, "queued")
    assert "Preference-Applied" not in second


def test_one_tenant_that_waits_as_often_as_it_can_keeps_nobody_else_from_it(
    api: APIClient, bob: Tenant, charlie: Tenant, client_of: ClientOf
) -> None:
    search = made(api)
    others = []
    for tenant in (bob, charlie):
        credentials.store(tenant, "modash", "a-key")
        client = client_of(tenant)
        others.append((client, made(client)))
    with meanwhile(*[waiting_read(api, search, 30)] * 14) as hers:
        until_some_wait(6)
        answers = [waiting_read(client, theirs, 1)() for client, theirs in others]
        until(lambda: sum(answer.done() for answer in hers) == 14 - 6)  # nobody waits for what has ended
        cancellation.cancel(search)
        applied = [answer.result().get("Preference-Applied") for answer in hers]
    assert [answer["Preference-Applied"] for answer in answers] == ["wait=1"] * 2
    assert applied.count("wait=30") == settings.WAITERS_PER_PROCESS // 2


def test_who_waits_holds_no_database_connection(api: APIClient) -> None:
    search = made(api)
    with meanwhile(*[waiting_read(api, search, 30)] * 6) as answers:
        until_some_wait(6)
        until(only_ours_is_taken)
        assert long_poll.slots.taken.total() == 6
        cancellation.cancel(search)
        assert [answer.result().status_code for answer in answers] == [200] * 6


@pytest.fixture
def redis_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves Redis to another port of this machine, for what is announced and heard."""

    def move(port: int) -> None:
        monkeypatch.setattr(settings, "REDIS_URL", f"redis://127.0.0.1:{port}/0")

    return move


def ends_soon_without_redis(api: APIClient, search: Search) -> bool:
    """Returns whether a waiting read is answered at its next look, long before its own limit."""
    with meanwhile(waiting_read(api, search, 60)) as [answer]:
        until_some_wait()
        cancellation.cancel(search)
        return bool(answer.result(SOON).json()["status"] == "canceled")


def test_a_dead_redis_costs_seconds_and_no_answer(api: APIClient, redis_at: Callable[[int], None]) -> None:
    search = made(api)
    redis_at(1)
    assert ends_soon_without_redis(api, search)


def test_a_silent_redis_is_asked_for_one_wake_up_and_then_left_alone(
    api: APIClient, redis_at: Callable[[int], None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.5)
        redis_at(silent.getsockname()[1])
        lane, policy = Lane(name="modash:live"), policies.of("modash")
        assert [wakeups.send(lane, policy) for _ in range(5)] == [False] * 5
        with silent.accept()[0], pytest.raises(TimeoutError):
            silent.accept()


def test_a_silent_redis_costs_no_more(api: APIClient, redis_at: Callable[[int], None]) -> None:
    search = made(api)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        redis_at(silent.getsockname()[1])
        assert ends_soon_without_redis(api, search)


def test_a_silent_redis_costs_one_announcement_its_time(redis_at: Callable[[int], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.5)
        redis_at(silent.getsockname()[1])
        for _ in range(20):
            live_updates.announce(uuid4())
        with silent.accept()[0], pytest.raises(TimeoutError):
            silent.accept()


def test_a_deleted_search_ends_the_wait_in_a_404(api: APIClient) -> None:
    search = made(api)
    with meanwhile(waiting_read(api, search, 30)) as [answer]:
        until_some_wait()
        Search.objects.filter(pk=search.pk).delete()
        live_updates.announce(search.pk)
        assert answer.result().status_code == 404


@pytest.mark.parametrize("preference", ["wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "return=minimal", ""])
def test_a_preference_that_makes_no_sense_is_none(api: APIClient, preference: str) -> None:
    response = api.get(f"/v1/searches/{made(api).pk}", headers={"Prefer": preference})
    assert response.status_code == 200
    assert "Preference-Applied" not in response


def test_more_than_a_minute_is_a_minute(api: APIClient) -> None:
    search = made(api)
    cancellation.cancel(search)
    response = api.get(f"/v1/searches/{search.pk}", headers={"Prefer": "respond-async, wait=600"})
    assert response["Preference-Applied"] == "wait=60"
