"""Tests that a body is refused by its announced length on every path, and that shares leave something to the next caller."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, RequestFactory

from config import body_slots
from config.body_slots import SMALL_BYTES, UNKNOWN, Bounded, Shared


def announce(client: Client, path: str, length: int, **headers: str) -> int:
    """Returns the status of a request that announces a body and sends none."""
    answer = client.generic(
        "POST", path, b"", "multipart/form-data; boundary=b", CONTENT_LENGTH=str(length), headers=headers
    )
    return answer.status_code


@pytest.mark.parametrize(
    "path", ["/admin/login/", "/admin/accounts/user/add/", "/admin", "/docs", "/healthz", "/static/x", "/"]
)
def test_a_body_of_more_than_a_mebibyte_is_a_413(client: Client, db: None, path: str) -> None:
    assert announce(client, path, SMALL_BYTES + 1) == 413
    assert announce(client, path, 300_000_000) == 413
    assert announce(client, path, SMALL_BYTES) != 413


def test_an_address_that_people_type_leads_to_a_page(client: Client, db: None) -> None:
    answer = client.get("/admin")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert client.get("/").status_code == 200
    for path in ("/", "/admin"):
        assert client.post(path).status_code == 405


@pytest.mark.parametrize("path", ["/v1/searches", "/v1/images", "/v1/nowhere"])
def test_a_body_larger_than_a_picture_needs_is_a_413_for_every_caller(client: Client, db: None, path: str) -> None:
    assert announce(client, path, 300_000_000) == 413
    assert announce(client, path, 29_000_000) in (401, 404)


@pytest.mark.parametrize("path", ["/admin/login/", "/docs", "/v1/searches", "/v1/nowhere"])
@pytest.mark.parametrize("coding", ["chunked", "gzip, chunked"])
def test_a_body_in_chunks_is_refused_everywhere(client: Client, db: None, path: str, coding: str) -> None:
    assert announce(client, path, 0, **{"Transfer-Encoding": coding}) == 400


def test_a_caller_takes_while_more_is_free_than_it_has() -> None:
    shared = Shared(12, of_unknown=3)
    assert [shared.take("alice") for _ in range(7)] == [True] * 6 + [False]
    assert [shared.take("bob") for _ in range(4)] == [True] * 3 + [False]
    assert shared.take("charlie")
    shared.give_back("alice")
    assert shared.take(UNKNOWN)


def test_strangers_have_one_small_share_together() -> None:
    shared = Shared(12, of_unknown=3)
    assert [shared.take(UNKNOWN) for _ in range(4)] == [True] * 3 + [False]
    assert not shared.take(UNKNOWN, seconds=0.01)
    shared.give_back(UNKNOWN)
    assert shared.take(UNKNOWN)


LARGE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"


def downloaded(address: str, stack: ExitStack) -> int:
    """Returns the status of a large download, of which nothing is read until the stack ends."""
    statuses = []
    environ: dict[str, Any] = RequestFactory(REMOTE_ADDR=address).get(LARGE).environ
    answer: Any = Bounded(WSGIHandler())(environ, lambda status, _: statuses.append(int(status[:3])))
    if not isinstance(answer, list):
        stack.enter_context(closing(answer))
    else:
        assert json.loads(answer[0])["detail"] == body_slots.TAKEN_SLOWLY[1]
    return statuses[-1]


def test_downloads_of_one_address_block_no_other_address(db: None) -> None:
    with ExitStack() as stack:
        assert [downloaded("198.51.100.1", stack) for _ in range(8)] == [200] * 6 + [503] * 2
        assert [downloaded("198.51.100.2", stack) for _ in range(4)] == [200] * 3 + [503]
        assert downloaded("2001:db8::1", stack) == 200
    with ExitStack() as stack:
        assert downloaded("198.51.100.1", stack) == 200


def test_a_download_counts_for_the_address_that_the_proxy_names(db: None, settings: Any) -> None:
    settings.PROXIES = [ip_network("10.0.0.0/8")]
    environ = RequestFactory(REMOTE_ADDR="10.0.0.1").get(LARGE, headers={"X-Forwarded-For": "198.51.100.7"}).environ
    answer: Any = Bounded(WSGIHandler())(environ, lambda *_: None)
    assert body_slots.sending._taken == {"198.51.100.7": 1}
    answer.close()
    assert not body_slots.sending._taken
