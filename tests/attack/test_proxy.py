"""Tests the proxy's configuration in Debian's nginx: it cuts slow clients off, and serves the others meanwhile."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from config.launcher import ports
from config.problem_codes import PROBLEMS
from tests import programs, proxies
from tests.attack.conftest import Bystander
from tests.attack.test_clients_that_stall import held, status, unfinished
from tests.searches.samples import jpeg

MANY = 40
# Longer than both time limits.
HELD_SECONDS = 13.0

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(
        not proxies.IS_INSTALLED, reason="There is no nginx; install Debian's to test the proxy's configuration."
    ),
]


@pytest.fixture(scope="module")
def proxied(bystander: Bystander) -> Iterator[Bystander]:
    """Yields a bystander behind nginx."""
    behind = Bystander(bystander.system, bystander.key)
    with proxies.nginx_before(bystander.url) as behind.url:
        yield behind


def test_slow_bodies_and_slow_headers_are_cut_and_the_others_are_served(proxied: Bystander, alices_key: str) -> None:
    body = unfinished(
        "/v1/images", f"Authorization: Bearer {alices_key}", "Content-Type: multipart/form-data; boundary=b"
    )
    headers = "GET /healthz HTTP/1.1\r\nHost: a\r\n"
    with (
        proxied.watching(),
        held(proxied.url, body, count=MANY) as bodies,
        held(proxied.url, headers, count=MANY) as unasked,
    ):
        sent = httpx.post(
            f"{proxied.url}/v1/images", headers=proxied.headers, files={"image": ("mug.jpg", jpeg())}, timeout=20
        )
        assert sent.status_code in (200, 201), sent.text
        time.sleep(HELD_SECONDS)
        for connection in [*bodies, *unasked]:
            connection.settimeout(0.5)
            with pytest.raises((ConnectionError, IndexError)):  # reset or closed, without a word
                status(connection)


@pytest.mark.parametrize(
    ("path", "most"), [("/admin/login/", 1_048_576), ("/docs", 1_048_576), ("/v1/images", 31_457_280)]
)
def test_a_body_is_bounded_by_its_place(proxied: Bystander, path: str, most: int) -> None:
    with held(proxied.url, unfinished(path, f"Authorization: Bearer {proxied.key}", length=most + 1), count=1) as (
        connection,
    ):
        assert status(connection) == 413


def test_a_slow_body_never_reaches_the_web_server(proxied: Bystander) -> None:
    order = unfinished("/v1/searches", f"Authorization: Bearer {proxied.key}", "Content-Type: application/json")
    with held(proxied.url, order, count=MANY):
        time.sleep(1)
        direct = proxied.system.api.post("/v1/searches", headers=proxied.headers, json={})
        assert direct.status_code == 400


def test_a_picture_in_chunks_is_taken(proxied: Bystander) -> None:
    content, headers = jpeg(), {**proxied.headers, "Content-Type": "multipart/form-data; boundary=b"}
    part = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="mug.jpg"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )
    pieces = (part[start : start + 100] for start in range(0, len(part), 100))
    sent = httpx.post(f"{proxied.url}/v1/images", headers=headers, content=pieces, timeout=20, trust_env=False)
    assert sent.request.headers["Transfer-Encoding"] == "chunked"
    assert sent.status_code in (200, 201), sent.text


def test_chunks_without_end_are_refused_while_they_arrive(proxied: Bystander) -> None:
    address = "127.0.0.1", int(proxied.url.rpartition(":")[2])
    headers = "Host: 127.0.0.1", f"Authorization: Bearer {proxied.key}", "Transfer-Encoding: chunked"
    head = "\r\n".join(("POST /v1/images HTTP/1.1", *headers, "", ""))
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(head.encode())
        sent = 0
        with suppress(ConnectionError):
            while sent < 200 and not select.select([connection], [], [], 0)[0]:
                connection.sendall(chunk)
                sent += 1
        assert b" 413 " in connection.recv(65536).splitlines()[0]
    # The bound is 30 of them; some are in buffers.
    assert 30 <= sent < 60


@pytest.mark.parametrize("key", ["", "Bearer x", "Bearer sl_live_unknown", "Basic x"])
@pytest.mark.parametrize("length", [100_000, 29_000_000])
def test_a_large_body_of_nobody_is_not_read(proxied: Bystander, key: str, length: int) -> None:
    sent = unfinished("/v1/images", f"Authorization: {key}", length=length)
    with held(proxied.url, sent, count=5) as connections:
        assert [status(connection) for connection in connections] == [401] * 5


def test_a_key_has_few_large_bodies_under_way_and_leaves_others_theirs(proxied: Bystander, alices_key: str) -> None:
    alices = unfinished("/v1/images", f"Authorization: Bearer {alices_key}", length=29_000_000)
    bobs = unfinished("/v1/images", f"Authorization: Bearer {proxied.key}", length=29_000_000)
    with held(proxied.url, alices, count=8) as kept:
        time.sleep(1)
        with held(proxied.url, alices, count=3) as more, held(proxied.url, bobs, count=1) as others:
            assert [status(connection) for connection in more] == [503] * 3
            for connection in [*kept, *others]:
                connection.settimeout(0.5)
                assert status(connection) is None


@pytest.mark.parametrize(("length", "code"), [(31_457_281, 413), (29_000_000, 401)])
def test_what_the_proxy_refuses_below_v1_is_a_problem(proxied: Bystander, length: int, code: int) -> None:
    with held(proxied.url, unfinished("/v1/images", length=length), count=1) as (connection,):
        head, _, body = connection.recv(65536).decode().partition("\r\n\r\n")
    told = json.loads(body)
    assert f" {code} " in head
    assert "Content-Type: application/problem+json\r\n" in head
    assert f"X-Request-Id: {told['request_id']}" in head
    kind = PROBLEMS[told["code"]]
    assert (told["status"], told["title"]) == (kind.status, kind.title) == (code, kind.title)


# Requests that nginx answers before it knows their location.
UNREADABLE = {
    "no method": (b"\x16\x03\x01\x00\r\n\r\n", 400),
    "two hosts": (b"GET /v1/searches HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no host": (b"GET /v1/searches HTTP/1.1\r\n\r\n", 400),
    "a wrong version": (b"GET /v1/searches HTTP/9.9\r\nHost: a\r\n\r\n", 400),
    "a long line": (b"GET /v1/" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a long header": (b"GET /v1/searches HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 400),
    "an unknown coding": (b"POST /v1/searches HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 400),
    "a method for proxies": (b"TRACE /v1/searches HTTP/1.1\r\nHost: a\r\n\r\n", 405),
}


@pytest.mark.parametrize(("sent", "code"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_request_that_the_proxy_cannot_read_is_a_problem(proxied: Bystander, sent: bytes, code: int) -> None:
    with socket.create_connection((ports.HOST, int(proxied.url.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(sent)
        head, _, body = connection.makefile("rb").read().decode().partition("\r\n\r\n")
    problem = json.loads(body)
    assert f" {code} " in head.splitlines()[0]
    assert "Content-Type: application/problem+json" in head
    kind = PROBLEMS[problem["code"]]
    assert (problem["status"], problem["title"]) == (kind.status, kind.title)


def test_every_problem_of_the_proxy_is_one_of_the_contract() -> None:
    text = (programs.CHECKOUT / "config/nginx.conf").read_text()
    bodies = [json.loads(body) for body in re.findall(r"return \d+ '(\{.*\})';", text)]
    assert len(bodies) == len(set(re.findall(r"error_page .* = (\S+);", text))) > 3
    for told in bodies:
        kind = PROBLEMS[told["code"]]
        assert (told["status"], told["title"]) == (kind.status, kind.title)
        assert told["type"].endswith(f"/docs/errors#{told['code']}")
