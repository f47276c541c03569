"""A picture by its URL: fetched once, when the request is handled, from a real server; each failure is named."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from threading import Event
from typing import Any, cast

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Tenant
from config.postgresql.base import DatabaseWrapper
from providers.keyring import credentials
from searches.models import Image
from searches.pictures import fetching
from tests.api.background import meanwhile
from tests.api.examples import PICTURE, create, lookup, nothing_left
from tests.conftest import ClientOf
from tests.patience import HANGS_AFTER_SECONDS, until
from tests.providers.wire import Caller, Script, Wire, wire
from tests.searches import samples

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _let_through(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.1/32")]


@pytest.fixture
def bobs(bob: Tenant, client_of: ClientOf) -> APIClient:
    credentials.store(bob, "modash", "bobs-modash-key")
    return client_of(bob)


def answer(status: str = "200 OK", body: bytes = PICTURE, *headers: str) -> Script:
    def answering(caller: Caller) -> None:
        caller.hear_request()
        caller.answer(status, body, *headers)

    return answering


def search_by(api: APIClient, url: str, **changes: Any) -> Any:
    return create(api, image={"url": url}, **changes)


def image_by(api: APIClient, url: str) -> Any:
    return api.post("/v1/images", {"image": {"url": url}}, format="json")


def what_is_wrong(response: Any) -> tuple[str, str]:
    """Field and code of the one thing that is."""
    assert response.status_code == 400, response.content
    [error] = response.json()["errors"]
    assert error["detail"].endswith(".")
    return error["field"], error["code"]


def test_a_search_takes_a_picture_by_its_url(api: APIClient) -> None:
    with wire(answer()) as it:
        response = search_by(api, f"{it.url}/a.jpg")
    assert (response.status_code, response.json()["image"]["bytes"]) == (202, len(PICTURE))
    assert len(it.callers) == 1


def test_a_picture_is_stored_by_its_url(api: APIClient) -> None:
    with wire(answer()) as it:
        fetched = image_by(api, it.url)
    sent = api.post("/v1/images", {"image": {"base64": b64encode(PICTURE).decode()}}, format="json")
    # A picture that is sent again is kept for longer.
    first, again = ({**answer.json(), "expires_at": None} for answer in (fetched, sent))
    assert (fetched.status_code, first) == (201, again)
    assert Image.objects.count() == 1


def half(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PICTURE)


def silent(caller: Caller) -> None:
    caller.hear_all()


@pytest.mark.parametrize(
    ("script", "field", "code"),
    [
        (answer("404 Not Found"), "image.url", "bad_status"),
        (answer("302 Found", b"", "Location: https://example.com/"), "image.url", "redirected"),
        (answer("200 OK", PICTURE, "Content-Encoding: gzip"), "image.url", "encoded"),
        (half, "image.url", "broken_answer"),
        (silent, "image.url", "timed_out"),
        (answer(body=samples.TEXT), "image", "not_a_picture"),
        (answer(body=b""), "image", "empty"),
    ],
)
def test_what_the_server_does_wrong_is_named(
    api: APIClient, settings: Settings, script: Script, field: str, code: str
) -> None:
    settings.PICTURE_MAX_BYTES = 100_000
    settings.PICTURE_FETCH_SECONDS = 0.5
    for send in search_by, image_by:
        with wire(script) as it:
            assert what_is_wrong(send(api, it.url)) == (field, code)
    assert nothing_left()


def test_one_that_is_too_large_is_so_in_whatever_way_it_comes(api: APIClient, settings: Settings) -> None:
    settings.PICTURE_MAX_BYTES = 100_000
    for send in search_by, image_by:
        with wire(answer(body=PICTURE + bytes(100_000))) as it:
            response = send(api, it.url)
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
        assert "100,000 bytes" in response.json()["detail"]
    assert nothing_left()


def test_nobody_who_listens_is_named(api: APIClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert what_is_wrong(search_by(api, f"http://127.0.0.1:{port}/")) == ("image.url", "connection_refused")


NOT_ASKED = {
    "http://127.0.0.1/": "private_address",
    "http://[::ffff:127.0.0.1]/": "private_address",
    "http://169.254.169.254/latest/meta-data/": "private_address",
    "http://localhost/": "private_address",
    "http://2130706433/": "bad_address",
    "http://alice:secret@example.com/": "bad_address",
    "https://8.8.8.8:6379/": "port_not_taken",
    "https://nobody.invalid/": "dns_failed",
}


def test_our_own_network_is_not_asked(api: APIClient, settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = []
    answers = {url: search_by(api, url) for url in NOT_ASKED}
    assert {url: what_is_wrong(answer) for url, answer in answers.items()} == {
        url: ("image.url", code) for url, code in NOT_ASKED.items()
    }
    assert not any(b"secret" in answer.content for answer in answers.values())


def test_nothing_is_fetched_for_what_is_wrong_in_shape(api: APIClient) -> None:
    with wire(answer()) as it:
        response = search_by(api, it.url, lookups=[lookup(limit=0)])
    assert what_is_wrong(response)[0] == "lookups[0].limit"
    assert it.callers == []


@contextmanager
def slow_server() -> Iterator[tuple[Wire, Event]]:
    """Yields a server that answers when the event is set."""
    go_on = Event()

    def wait(caller: Caller) -> None:
        caller.hear_request()
        go_on.wait(10)
        caller.answer(body=PICTURE)

    with wire(wait) as it:
        try:
            yield it, go_on
        finally:
            go_on.set()


def until_asked(it: Wire, times: int = 1) -> None:
    until(lambda: sum(b"\r\n\r\n" in caller.heard for caller in it.callers) == times)


def test_past_the_bound_the_answer_is_503_and_nobody_takes_all_places(
    api: APIClient, bobs: APIClient, settings: Settings
) -> None:
    settings.FETCHERS_PER_PROCESS = 2
    api.raise_request_exception = bobs.raise_request_exception = False
    with slow_server() as (it, go_on), meanwhile(lambda: search_by(api, it.url)) as [alices]:
        until_asked(it)
        refused = search_by(api, it.url)
        with meanwhile(lambda: search_by(bobs, it.url)) as [first]:
            until_asked(it, times=2)
            full = search_by(bobs, it.url)
            go_on.set()
            assert (alices.result(HANGS_AFTER_SECONDS).status_code, first.result(HANGS_AFTER_SECONDS).status_code) == (
                202,
                202,
            )
    for response in refused, full:
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert int(response["Retry-After"]) > 0


def test_a_place_is_free_again_after_a_failure(api: APIClient, settings: Settings) -> None:
    settings.FETCHERS_PER_PROCESS = 1
    with wire(answer("404 Not Found"), answer()) as it:
        assert search_by(api, it.url).status_code == 400
        assert search_by(api, it.url).status_code == 202
    assert not fetching.slots.taken


def only_ours_is_taken() -> bool:
    pool = cast(DatabaseWrapper, connection).pool.get_stats()
    return bool(pool["pool_available"] == pool["pool_size"] - 1)


def test_who_waits_for_a_picture_holds_no_database_connection(api: APIClient) -> None:
    with slow_server() as (it, go_on), meanwhile(*[lambda: search_by(api, it.url)] * 4) as answers:
        until_asked(it, times=4)
        until(only_ours_is_taken)
        go_on.set()
        assert [answer.result(HANGS_AFTER_SECONDS).status_code for answer in answers] == [202] * 4


def test_the_document_shows_it() -> None:
    schemas = Client().get("/v1/openapi.json").json()["components"]["schemas"]
    for name in "PictureGiven", "PictureSent":
        assert schemas[name]["properties"]["url"]["format"] == "uri"
