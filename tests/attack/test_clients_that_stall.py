"""Attacks by clients that never end their request or never read their answer, as many as one machine can make."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from config.body_slots import MOST_READING
from tests.attack.conftest import Bystander
from tests.patience import until
from tests.searches.samples import jpeg

pytestmark = pytest.mark.chaos
MANY = 70
# Longer than the server waits for headers.
HELD_SECONDS = 11.0
CSRF = "c" * 32
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


@contextmanager
def held(url: str, request: str, *, count: int = MANY, receive_bytes: int = 0) -> Iterator[list[socket.socket]]:
    """Opens so many connections, sends this on each, and holds them open."""
    address = urlsplit(url)
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            if receive_bytes:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            connection.settimeout(20)
            connection.connect((address.hostname, address.port))
            connection.sendall(request.encode())
            connections.append(connection)
        yield connections


def unfinished(path: str, *headers: str, length: int = 1000) -> str:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}", *headers]
    return "\r\n".join(lines) + "\r\n\r\n{"


def statuses(connections: list[socket.socket]) -> list[int | None]:
    """Returns the answer's status; None if no answer comes."""
    for connection in connections:
        connection.settimeout(0.5)
    return [status(connection) for connection in connections]


def status(connection: socket.socket) -> int | None:
    try:
        return int(connection.recv(4096).split()[1])
    except TimeoutError:
        return None


@pytest.mark.parametrize("length", [1000, 1_000_000])
def test_unfinished_bodies_of_nobody_silence_nobody(bystander: Bystander, length: int) -> None:
    login = unfinished("/admin/login/", f"Cookie: csrftoken={CSRF}", FORM.strip(), length=length)
    with bystander.watching(), held(bystander.url, login) as connections:
        time.sleep(3)
        assert set(statuses(connections)) == {503, None}
        asked = httpx.get(f"{bystander.url}/admin/login/", timeout=20)
        assert asked.status_code == 200


@pytest.mark.parametrize("path", ["/v1/searches", "/v1/images", "/v1/nowhere", "/admin/login/", "/docs", "/healthz"])
def test_a_body_that_nobody_has_to_read_is_not_waited_for(bystander: Bystander, path: str) -> None:
    with bystander.watching(), held(bystander.url, unfinished(path)) as connections:
        assert not {200, 202, 500, 503, None} & set(statuses(connections))


def test_unfinished_bodies_of_one_tenant_keep_no_other_from_sending(bystander: Bystander, alices_key: str) -> None:
    order = unfinished("/v1/searches", f"Authorization: Bearer {alices_key}", "Content-Type: application/json")
    with bystander.watching(), held(bystander.url, order) as connections:
        time.sleep(1)
        sent = httpx.post(
            f"{bystander.url}/v1/images", headers=bystander.headers, files={"image": ("mug.jpg", jpeg())}, timeout=20
        )
        assert sent.status_code == 201, sent.text
        assert {None} < set(statuses(connections)) <= {429, 503, None}


def test_a_slow_body_that_comes_is_taken(bystander: Bystander) -> None:
    order = json.dumps({"lookups": []}).encode()
    headers = f"Authorization: Bearer {bystander.key}", "Content-Type: application/json"
    with held(bystander.url, unfinished("/v1/searches", *headers, length=len(order)), count=1) as (connection,):
        for byte in order[1:]:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)
        assert statuses([connection]) == [400]


def test_a_thousand_unfinished_bodies_leave_threads_to_others(bystander: Bystander, alices_key: str) -> None:
    """Counts: of the body slots, a tenant holds half at most, and all others are answered before a byte more comes."""
    order = unfinished("/v1/searches", f"Authorization: Bearer {alices_key}", "Content-Type: application/json")
    with bystander.watching(), held(bystander.url, order, count=1000) as connections:
        unanswered = connections

        def few_wait() -> bool:
            nonlocal unanswered
            answers = zip(unanswered, statuses(unanswered), strict=True)
            unanswered = [connection for connection, answered in answers if answered is None]
            return len(unanswered) <= MOST_READING // 2

        until(few_wait)


def test_connections_that_stay_open_keep_nobody_out(bystander: Bystander) -> None:
    """More than granian's own bound, at which it stops accepting."""
    asked = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with held(bystander.url, asked, count=1200) as connections:
        assert {status(connection) for connection in connections} == {200}
        with bystander.watching():
            pass


def test_unfinished_headers_silence_nobody(bystander: Bystander) -> None:
    with bystander.watching(), held(bystander.url, "GET /healthz HTTP/1.1\r\nHost: a\r\n") as connections:
        time.sleep(HELD_SECONDS)
        assert {connection.recv(100) for connection in connections} == {b""}


def test_answers_that_nobody_takes_silence_nobody(bystander: Bystander) -> None:
    large = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
    asked = f"GET {large} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with bystander.watching(), held(bystander.url, asked, receive_bytes=4096):
        time.sleep(3)


@pytest.mark.parametrize("path", ["/admin/login/", "/docs", "/v1/searches", "/v1/images"])
def test_a_huge_body_is_refused_by_its_length(bystander: Bystander, path: str) -> None:
    headers = "Content-Type: multipart/form-data; boundary=b", f"Cookie: csrftoken={CSRF}"
    with bystander.watching(), held(bystander.url, unfinished(path, *headers, length=300_000_000)) as connections:
        assert set(statuses(connections)) == {413}
