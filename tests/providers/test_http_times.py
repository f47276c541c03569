"""Tests the time limits of each stage of a call over real sockets: name, connection, handshake, sending, waiting, reading."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import httpcore
import httpx
import pytest

from providers.failures import Failure, Lost, Unreachable
from providers.http import ProviderClient, Reply
from providers.limiter import Token
from tests.providers.lanes import LoggedLane, a_rate, any_token
from tests.providers.wire import Caller, Script, answering, deaf, wire

pytestmark = pytest.mark.usefixtures("fresh_connections")
NAME = "provider.example"
# Every time of a call but the one that a test is about: what ends before it was ended by that one, however busy the machine is.
LONG = 60.0
# More than the kernel buffers while the peer does not read.
LARGE = os.urandom(1024) * 1024 * 12

Names = Callable[..., list[str]]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Gives the system a name with these addresses, which takes a while to find. Returns the questions for it."""
    really = socket.getaddrinfo
    over = Event()

    def named(*addresses: str, after: float = 0) -> list[str]:
        asked = []

        def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            if host != NAME:
                return really(host, port, *rest, **more)
            asked.append(host)
            over.wait(after)
            return [found for address in addresses for found in really(address, port, *rest, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    yield named
    over.set()


@contextmanager
def full(host: str = "0.0.0.0", port: int = 0) -> Iterator[int]:
    """Opens a port where connections are never accepted, at one address or at all of this machine."""
    with socket.socket() as server:
        server.bind((host, port))
        server.listen(0)
        port = server.getsockname()[1]
        others = [socket.socket() for _ in range(8)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(("127.0.0.1" if host == "0.0.0.0" else host, port))
        yield port
        for other in others:
            other.close()


def send(
    url: str,
    *,
    token: Token | None = None,
    body: bytes = b"{}",
    connect: float = LONG,
    total: float = LONG,
    read: float = LONG,
    write: float = LONG,
) -> Reply:
    client = ProviderClient(connect_seconds=connect, total_seconds=total, read_seconds=read, write_seconds=write)
    return client.send(httpx.Request("POST", url, content=body), token=token or any_token())


def ended(url: str, **how: Any) -> tuple[type[Failure], float]:
    """Returns the failure, and after how many seconds it came."""
    token = how.pop("token", None) or any_token()
    begun = time.monotonic()
    with pytest.raises(Failure) as caught:
        send(url, token=token, **how)
    return caught.type, time.monotonic() - begun


# Connecting: one time for the name, all its addresses and the handshake


def test_a_name_that_is_not_found_in_time_costs_no_token(named: Names) -> None:
    named("127.0.0.1", after=LONG)
    lane = LoggedLane()
    came, seconds = ended(f"http://{NAME}", token=lane.token(), connect=0.3)
    assert came is Unreachable
    assert 0.3 <= seconds < LONG
    assert lane.log() == {}


def test_a_name_without_an_address_costs_no_token(named: Names) -> None:
    named()
    lane = LoggedLane()
    assert ended(f"http://{NAME}", token=lane.token())[0] is Unreachable
    assert lane.log() == {}


def test_all_the_addresses_of_a_name_share_the_time(named: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    really = httpcore.SyncBackend.connect_tcp

    def connect_tcp(self: Any, host: str, port: int, timeout: float, *rest: Any, **more: Any) -> Any:
        shares.append(timeout)
        return really(self, host, port, timeout, *rest, **more)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
    named("127.0.0.1", "127.0.0.2", "127.0.0.3")
    with full() as port:
        came, seconds = ended(f"http://{NAME}:{port}", connect=0.6)
    assert came is Unreachable
    assert seconds >= 0.6
    assert len(shares) == 3
    assert sum(shares) <= 0.6


def test_an_address_that_hangs_leaves_the_next_one_its_share(named: Names) -> None:
    named("127.0.0.2", "127.0.0.3", "127.0.0.1")
    with wire(answering) as it, full("127.0.0.2", it.port), full("127.0.0.3", it.port):
        assert send(f"http://{NAME}:{it.port}", connect=0.9).status == 200


def test_the_name_and_the_handshake_share_the_time(named: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    really = ssl.SSLContext.wrap_socket

    def wrap_socket(self: ssl.SSLContext, sock: socket.socket, *rest: Any, **more: Any) -> ssl.SSLSocket:
        shares.append(sock.gettimeout() or LONG)
        return really(self, sock, *rest, **more)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap_socket)
    named("127.0.0.1", after=0.3)
    with wire(Caller.hear_all) as it:
        came, seconds = ended(f"https://{NAME}:{it.port}", connect=1.0)
    assert came is Unreachable
    assert seconds >= 1.0
    [of_the_handshake] = shares
    assert of_the_handshake <= 0.7


def test_loading_the_certificates_takes_nothing_from_the_time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    really, clock = ssl.create_default_context, time.monotonic
    lost = 0.0

    def create_default_context(**options: Any) -> ssl.SSLContext:
        nonlocal lost
        lost = 2 * LONG
        return really(**options)

    monkeypatch.setattr(time, "monotonic", lambda: clock() + lost)
    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    with wire(answering) as it:
        assert send(it.url).status == 200
    assert lost


def test_a_kept_connection_asks_for_no_name(named: Names) -> None:
    asked = named("127.0.0.1")
    with wire(answering) as it:
        assert [send(f"http://{NAME}:{it.port}").status for _ in range(3)] == [200] * 3
    assert asked == [NAME]


# Sending, waiting, reading


def silent(caller: Caller) -> None:
    caller.hear_all()


def silent_in_the_head(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"HTTP/1.1 200 OK\r\nContent-")
    caller.hear_all()


def silent_in_the_body(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    caller.hear_all()


def trickle(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        caller.say(b"x")
        time.sleep(0.03)


def test_a_write_that_stalls_ends_the_call() -> None:
    with wire(deaf) as it:
        came, seconds = ended(it.url, body=LARGE, write=0.3)
    assert came is Lost
    assert 0.3 <= seconds < LONG


def test_a_provider_that_takes_a_body_in_slowly_does_not_stall() -> None:
    def slow(caller: Caller) -> None:
        caller.hear_head()
        for _ in range(20):
            caller.hear(200_000)
            time.sleep(0.05)
        while len(caller.heard) < len(LARGE):
            caller.hear(1_000_000)
        caller.answer()

    with wire(slow) as it:
        begun = time.monotonic()
        assert send(it.url, body=LARGE, write=0.6).status == 200
        assert time.monotonic() - begun > 0.6


@pytest.mark.parametrize("script", [silent, silent_in_the_head, silent_in_the_body])
def test_a_silence_ends_the_call(script: Script) -> None:
    with wire(script) as it:
        came, seconds = ended(it.url, read=0.3)
    assert came is Lost
    assert 0.3 <= seconds < LONG


def test_an_answer_that_trickles_is_no_silence_and_ends_with_the_calls_time() -> None:
    with wire(trickle) as it:
        came, seconds = ended(it.url, read=0.4, total=0.9)
    assert came is Lost
    assert 0.9 <= seconds < LONG


def test_no_silence_lasts_longer_than_the_call() -> None:
    with wire(silent) as it:
        came, seconds = ended(it.url, total=0.3)
    assert came is Lost
    assert 0.3 <= seconds < LONG


def test_waiting_for_the_instant_is_neither_a_silence_nor_a_stall() -> None:
    lane = LoggedLane(a_rate(1, 600))
    lane.token().redeem()
    with wire(answering) as it:
        assert send(it.url, token=lane.token(), connect=0.3, read=0.3, write=0.3, total=0.3).status == 200
