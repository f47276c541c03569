"""Tests the HTTP client of providers over real sockets: it knows whether anything was sent, and keeps its time limits."""

from __future__ import annotations

import os
import socket
import time
import traceback
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from pytest_django import Settings

from providers import http, limiter
from providers.failures import Failure, Lost, Unreachable
from providers.http import ProviderClient, Reply
from providers.limiter import Token, TokenRefused, Unavailable
from tests.patience import until
from tests.providers.lanes import LoggedLane, a_rate, any_token, slow_answers
from tests.providers.wire import Caller, Script, answering, deaf, dribbling, self_signed, silent, slow_to_hear, wire

PICTURE = b"iVBORw0KGgoAAAANSUhEUg"
pytestmark = pytest.mark.usefixtures("fresh_connections")
SECRET = "sk-of-alice-0123456789"
# More than the kernel buffers while the peer does not read.
LARGE = os.urandom(1024) * 1024 * 12


def send(
    url: str, *, token: Token | None = None, body: bytes = b"{}", connect: float = 2, total: float = 5, path: str = ""
) -> Reply:
    request = httpx.Request("POST", url + path, headers={"Authorization": f"Bearer {SECRET}"}, content=body)
    return ProviderClient(connect_seconds=connect, total_seconds=total).send(request, token=token or any_token())


def what_came(url: str, **how: Any) -> type[Failure]:
    with pytest.raises(Failure) as caught:
        send(url, **how)
    return caught.type


def waiting_token(lane: LoggedLane) -> Token:
    """Returns a token whose instant is a window away."""
    lane.token().redeem()
    return lane.token("mine")


# What is sent, and when


def test_a_whole_answer_comes_back_whatever_its_status() -> None:
    def teapot(caller: Caller) -> None:
        caller.hear_request()
        caller.answer("418 I'm a teapot", b"short", "X-Request-Id: 7")

    with wire(teapot) as it:
        reply = send(it.url, body=b'{"a": 1}', path="/v1/search")
    assert (reply.status, reply.content, reply.headers["x-request-id"]) == (418, b"short", "7")
    [heard] = it.hung_up()
    assert heard.startswith(b"POST /v1/search HTTP/1.1\r\n")
    assert heard.endswith(b'\r\n\r\n{"a": 1}')


def test_the_token_is_redeemed_after_the_connection_and_before_the_first_byte() -> None:
    lane, logs = LoggedLane(a_rate(1, 1500)), []

    def look(caller: Caller) -> None:
        logs.append(set(lane.log()))
        caller.hear(1)
        logs.append(set(lane.log()))
        caller.hear_request()
        caller.answer()

    token = waiting_token(lane)
    with wire(look) as it:
        send(it.url, token=token)
    assert ["mine" in log for log in logs] == [False, True]


def test_waiting_for_the_instant_takes_nothing_from_the_calls_time() -> None:
    with wire(answering) as it:
        assert send(it.url, token=waiting_token(LoggedLane(a_rate(1, 400))), total=0.3).status == 200


def test_without_a_token_no_byte_leaves() -> None:
    with wire(answering) as it, pytest.raises(RuntimeError, match="without a token"):
        http.shared_connections().request("GET", it.url)
    assert it.callers == []


def test_a_call_whose_token_is_refused_sends_nothing() -> None:
    lane = LoggedLane()
    token = lane.token("mine")
    lane.revoke("mine")
    with wire(answering) as it:
        with pytest.raises(TokenRefused):
            send(it.url, token=token)
        assert it.hung_up() == [b""]


def test_without_redis_nothing_is_sent(settings: Settings) -> None:
    token = any_token()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        settings.REDIS_URL = f"redis://127.0.0.1:{gone.getsockname()[1]}"
    with wire(answering) as it:
        with pytest.raises(Unavailable):
            send(it.url, token=token)
        assert it.hung_up() == [b""]


def test_a_call_that_left_late_is_logged_as_late_before_its_body_is_sent(settings: Settings) -> None:
    lane, moved = LoggedLane(a_rate(1, 400)), Event()
    token = lane.token("mine")

    def look(caller: Caller) -> None:
        caller.hear_head()
        until(lambda: lane.log()["mine"] >= begin + 100_000, "the log does not say that the call left late")
        moved.set()
        caller.reset()

    with wire(look) as it, slow_answers(settings.REDIS_URL, seconds=0.1) as settings.REDIS_URL:
        limiter.connect()
        begin = lane.now()
        assert what_came(it.url, token=token, body=LARGE, total=60) is Lost
    assert moved.is_set()


# Nothing was sent: Unreachable


def test_a_refused_connection_costs_no_token() -> None:
    lane = LoggedLane()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    assert what_came(url, token=lane.token()) is Unreachable
    assert lane.log() == {}


@pytest.mark.parametrize(
    "url", ["http://provider.invalid", "127.0.0.1:80", "ftp://127.0.0.1", f"http://{'a' * 70}.com"]
)
def test_an_invalid_address_costs_no_token(url: str) -> None:
    lane = LoggedLane()
    assert what_came(url, token=lane.token()) is Unreachable
    assert lane.log() == {}


def test_a_connection_that_is_not_taken_in_time_costs_no_token() -> None:
    lane = LoggedLane()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        others = [socket.socket() for _ in range(8)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        begin = time.monotonic()
        assert what_came(f"http://127.0.0.1:{server.getsockname()[1]}", token=lane.token(), connect=0.3) is Unreachable
        assert time.monotonic() - begin >= 0.3
        for other in others:
            other.close()
    assert lane.log() == {}


def test_a_certificate_without_a_trusted_issuer_costs_no_token(tmp_path: Path) -> None:
    lane = LoggedLane()
    with wire(answering, certificate=self_signed(tmp_path)) as it:
        assert what_came(it.url, token=lane.token()) is Unreachable
        assert it.hung_up() == [b""]
    assert lane.log() == {}


def test_a_handshake_that_does_not_end_costs_no_token() -> None:
    lane = LoggedLane()
    with wire(Caller.hear_all) as it:
        assert what_came(it.url.replace("http:", "https:"), token=lane.token(), connect=0.3) is Unreachable
    assert lane.log() == {}


# Something was sent, and no whole answer came: Lost


def reset_at_once(caller: Caller) -> None:
    caller.hear(1)
    caller.reset()


def reset_after_the_head(caller: Caller) -> None:
    caller.hear_head()
    caller.reset()


def reset_in_mid_body(caller: Caller) -> None:
    caller.hear_head()
    caller.hear(65536)
    caller.reset()


def reset_before_the_answer(caller: Caller) -> None:
    caller.hear_request()
    caller.reset()


def close_before_the_answer(caller: Caller) -> None:
    caller.hear_request()


def reset_in_the_answers_head(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"HTTP/1.1 200 OK\r\nContent-")
    time.sleep(0.05)
    caller.reset()


def answer_less_than_announced(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")


def answer_without_its_last_chunk(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")


def answer_half_a_chunk(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}")


def answer_something_else(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


@pytest.mark.parametrize(
    "script",
    [
        reset_at_once,
        reset_after_the_head,
        reset_in_mid_body,
        reset_before_the_answer,
        close_before_the_answer,
        reset_in_the_answers_head,
        answer_less_than_announced,
        answer_without_its_last_chunk,
        answer_half_a_chunk,
        answer_something_else,
    ],
)
def test_what_broke_after_the_first_byte_is_lost(script: Script) -> None:
    lane = LoggedLane()
    with wire(script) as it:
        assert what_came(it.url, token=lane.token("mine"), body=LARGE) is Lost
    assert "mine" in lane.log()


@pytest.mark.parametrize(
    "script",
    [
        silent,
        deaf,
        slow_to_hear,
        dribbling(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        dribbling(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        dribbling(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["silent", "deaf", "slow to hear", "head by byte", "body by byte", "hint by hint"],
)
def test_a_call_ends_with_its_time_whatever_the_provider_does(script: Script) -> None:
    with wire(script) as it:
        token, begin = any_token(), time.monotonic()
        assert what_came(it.url, token=token, body=LARGE * 4, total=0.5) is Lost
        # No script ends by itself.
        assert time.monotonic() - begin >= 0.5


# Keys


@pytest.mark.parametrize("script", [reset_before_the_answer, answer_less_than_announced, answer_something_else])
def test_no_failure_quotes_the_request(script: Script) -> None:
    with wire(script) as it, pytest.raises(Lost) as caught:
        send(it.url, body=PICTURE)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert SECRET not in told
    assert PICTURE.decode() not in told


def test_a_key_that_fits_no_header_is_not_quoted() -> None:
    with wire(answering) as it:
        request = httpx.Request("POST", it.url, headers={"Authorization": f"{SECRET}\nX: y"})
        with pytest.raises(Unreachable) as caught:
            ProviderClient(connect_seconds=1, total_seconds=1).send(request, token=any_token())
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_an_answer_is_not_shown() -> None:
    assert "quoted" not in repr(Reply(status=200, headers=httpx.Headers(), content=b"quoted"))
