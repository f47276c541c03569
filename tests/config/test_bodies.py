"""A body is refused by its announced length on every path, and shares leave something to whoever comes next."""

from __future__ import annotations

import pytest
from django.test import Client

from config.bodies import SMALL_BYTES, UNKNOWN, Shared


def announce(client: Client, path: str, length: int, **headers: str) -> int:
    """The status of a request that says so and sends nothing."""
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


@pytest.mark.parametrize("path", ["/v1/searches", "/v1/images", "/v1/nowhere"])
def test_a_body_beyond_what_a_picture_needs_is_a_413_whoever_sends_it(client: Client, db: None, path: str) -> None:
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
