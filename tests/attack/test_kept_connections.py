"""A connection stays usable after an answer, unless the answer says that it ends."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader

import pytest

from tests.processes import Sightline, answers, wait_until

LARGE = 300_000_000


def ended(answer: BufferedReader) -> bool:
    """Returns whether the server ends the connection, with a reset if it has unread bytes. Times out if it does not."""
    with suppress(ConnectionResetError):
        answer.read()
    return True


@contextmanager
def asked(
    system: Sightline, request: str, begun: bytes
) -> Iterator[tuple[str, dict[str, str], socket.socket, BufferedReader]]:
    """Sends headers and the start of a body. Yields the status and the headers of the answer, and the connection."""
    wait_until(lambda: answers(system.api, "/healthz"))
    with (
        socket.create_connection(("127.0.0.1", int(system.environment["PORT"])), timeout=20) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(request.replace("\n", "\r\n").encode() + b"\r\n\r\n" + begun)
        status = answer.readline().decode().split()[1]
        lines = iter(lambda: answer.readline().decode().strip(), "")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        answer.read(int(headers.get("content-length", 0)))
        yield status, headers, connection, answer


@pytest.mark.parametrize(
    ("request_line", "length", "status"),
    [
        ("POST /v1/searches", LARGE, "413"),
        ("POST /admin/login/", LARGE, "413"),
        ("POST /v1/searches", 1000, "401"),
        ("POST /v1/nowhere", 100_000, "404"),
        ("POST /healthz", 1000, "405"),
        ("POST /v1/searches", None, "400"),
    ],
)
def test_an_answer_before_the_end_of_a_body_says_that_the_connection_ends(
    system: Sightline, request_line: str, length: int | None, status: str
) -> None:
    body = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
    request = f"{request_line} HTTP/1.1\nHost: 127.0.0.1\n{body}"
    with asked(system, request, b"1\r\n{\r\n") as (answered, headers, _, answer):
        assert (answered, headers.get("connection")) == (status, "close")
        assert ended(answer)


def test_what_is_longer_than_announced_is_no_part_of_the_body(system: Sightline) -> None:
    """The rest would be the next request. It is none, so that the connection ends."""
    key = json.loads(system.manage("create_tenant", "Longer", "--json"))["api_keys"]["live"]
    told = f"Host: 127.0.0.1\nAuthorization: Bearer {key}\nContent-Type: application/json\nContent-Length: 2"
    with asked(system, f"POST /v1/searches HTTP/1.1\n{told}", b'{}{"lookups": []}\r\n\r\n') as (status, _, _, answer):
        assert status == "400"
        assert b"200" not in answer.readline()
        assert ended(answer)


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_an_answer_to_what_was_read_keeps_the_connection(system: Sightline, content: bytes) -> None:
    tenant = json.loads(system.manage("create_tenant", f"Keeper {len(content)}", "--json"))
    key = tenant["api_keys"]["live"]
    told = (
        f"Host: 127.0.0.1\nAuthorization: Bearer {key}\nContent-Type: application/json\nContent-Length: {len(content)}"
    )
    line = "POST /v1/searches" if content else "GET /v1/searches"
    with asked(system, f"{line} HTTP/1.1\n{told}", content) as (_, headers, connection, answer):
        assert headers.get("connection") != "close"
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 200 OK" in answer.readline()
