"""An exchange with a server that a tenant named, over real sockets: it ends in time, in a bounded answer or a named failure."""

from __future__ import annotations

import gzip
import socket
import ssl
import time
import traceback
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from pytest_django import Settings

from accounts.net import outbound, public_addresses, transport
from accounts.net.failures import (
    AnswerTooLarge,
    BadStatus,
    Broken,
    CompressedAnswer,
    ConnectionRefused,
    OutboundFailure,
    Redirected,
    TimedOut,
)
from accounts.net.outbound import OutboundReply
from tests.accounts.exchanges import Ask, each_way, fetch
from tests.providers.wire import Caller, Script, answering, deaf, dribbling, silent, slow_to_hear, wire

SECRET = "token-of-alice"
OK = b"HTTP/1.1 200 OK\r\n"
# More than the kernel takes in while nobody reads.
LARGE = bytes(12 * 1024 * 1024)


@pytest.fixture(autouse=True)
def _let_through(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.0/8")]


def why_not(url: str, ask: Ask = fetch) -> OutboundFailure:
    with pytest.raises(OutboundFailure) as caught:
        ask(url)
    return caught.value


def post(url: str, body: bytes, *, most_bytes: int = 1000, seconds: float = 5) -> OutboundReply:
    request = httpx.Request("POST", public_addresses.parse(url), headers={"Webhook-Id": "7"}, content=body)
    return outbound.send(request, most_bytes=most_bytes, seconds=seconds)


def saying(answer: bytes) -> Script:
    def say(caller: Caller) -> None:
        caller.hear_request()
        caller.say(answer)

    return say


def answer(status: str, *headers: str) -> Script:
    def answering(caller: Caller) -> None:
        caller.hear_request()
        caller.answer(status, b"short", *headers)

    return answering


def test_a_file_is_fetched_by_a_plain_request() -> None:
    with wire(answer("200 OK")) as it:
        assert fetch(f"{it.url}/a b.jpg?c=d#e") == b"short"
    [heard] = it.hung_up()
    head, *lines = heard.decode().lower().split("\r\n")
    assert head == "get /a%20b.jpg?c=d http/1.1"
    assert sorted(line.partition(":")[0] for line in lines if line) == [
        "accept",
        "accept-encoding",
        "connection",
        "host",
        "user-agent",
    ]
    assert {"accept: image/*", "accept-encoding: identity", f"host: 127.0.0.1:{it.port}"} <= set(lines)


def test_a_body_is_sent_and_an_answer_of_any_status_is_returned() -> None:
    with wire(answer("410 Gone", "Retry-After: 7")) as it:
        reply = post(it.url, b'{"a": 1}')
    assert (reply.status, reply.headers["retry-after"], reply.content, reply.cut) == (410, "7", b"short", None)
    [heard] = it.hung_up()
    assert heard.startswith(b"POST / HTTP/1.1\r\n")
    assert heard.endswith(b'\r\n\r\n{"a": 1}')


def test_a_large_body_goes_out_whole() -> None:
    with wire(answering) as it:
        assert post(it.url, LARGE).status == 200
        assert it.hung_up()[0].endswith(LARGE)


# Answers


@each_way
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_a_failure_by_name(ask: Ask, status: str) -> None:
    with wire(answering) as elsewhere, wire(answer(status, f"Location: {elsewhere.url}")) as it:
        assert type(why_not(it.url, ask)) is Redirected
    assert elsewhere.callers == []


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "206 Partial Content", "299 Odd"])
def test_a_status_other_than_200_is_said(status: str) -> None:
    with wire(answer(status)) as it, pytest.raises(BadStatus, match=status[:3]):
        fetch(it.url)


def flood(caller: Caller) -> None:
    caller.hear_request()
    caller.say(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        caller.say(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def test_an_answer_without_end_is_too_large() -> None:
    with wire(flood) as it, pytest.raises(AnswerTooLarge, match="1,000 bytes"):
        fetch(it.url)


def drip(caller: Caller) -> None:
    caller.hear_request()
    caller.say(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        caller.say(b"1\r\nx\r\n" * 1000)


def chatter(caller: Caller) -> None:
    caller.hear_request()
    while True:
        caller.say(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)


@pytest.mark.parametrize("script", [drip, chatter])
def test_an_answer_of_hardly_any_content_in_pieces_without_end_is_given_up_long_before_its_time(script: Script) -> None:
    with wire(script) as it, pytest.raises(Broken, match="pieces"):
        fetch(it.url, most_bytes=20_000_000, seconds=30)


def test_an_answer_in_small_chunks_is_taken() -> None:
    chunks = (b"80\r\n" + bytes(128) + b"\r\n") * 20_000 + b"0\r\n\r\n"
    with wire(saying(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)) as it:
        assert fetch(it.url, most_bytes=20_000_000, seconds=30) == bytes(128 * 20_000)


def test_an_answer_of_the_most_bytes_is_taken() -> None:
    with wire(saying(OK + b"Content-Length: 1000\r\n\r\n" + bytes(1000))) as it:
        assert fetch(it.url) == bytes(1000)


def test_a_head_without_end_is_broken() -> None:
    def talk(caller: Caller) -> None:
        caller.hear_request()
        caller.say(OK)
        while True:
            caller.say(b"X: " + bytes(b"x" * 1000) + b"\r\n")

    with wire(talk) as it, pytest.raises(Broken):
        fetch(it.url)


def test_a_reply_holds_the_beginning_of_a_long_answer() -> None:
    with wire(flood) as it:
        reply = post(it.url, b"{}")
    assert (reply.status, reply.content, type(reply.cut)) == (200, bytes(1000), AnswerTooLarge)


def test_a_reply_holds_what_came_before_time_was_over() -> None:
    with wire(dribbling(OK + b"Content-Length: 1000\r\n\r\n", b"x")) as it:
        reply = post(it.url, b"{}", seconds=0.4)
    assert (reply.status, type(reply.cut)) == (200, TimedOut)
    assert reply.content.startswith(b"x")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        OK + b"Content-Length: 100\r\n\r\nshort",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nshort",
        OK + b"Transfer-Encoding: chunked\r\n\r\nlong\r\nshort\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA B\r\n\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "no last chunk", "half a chunk", "no chunk", "no HTTP", "no header"],
)
def test_an_answer_that_is_not_whole_is_broken(said: bytes) -> None:
    with wire(saying(said)) as it, pytest.raises(Broken):
        fetch(it.url)


def test_a_reset_is_broken() -> None:
    def reset(caller: Caller) -> None:
        caller.hear_request()
        caller.reset()

    with wire(reset) as it, pytest.raises(Broken):
        fetch(it.url)


def test_nothing_is_unpacked() -> None:
    packed = gzip.compress(LARGE)
    headers = OK + f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with wire(saying(headers + packed)) as it, pytest.raises(CompressedAnswer):
        fetch(it.url, most_bytes=100_000)


def test_a_refused_connection_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ConnectionRefused, match=f"port {port}"):
        fetch(f"http://127.0.0.1:{port}/")


# Time limits


@pytest.mark.parametrize(
    "script",
    [
        silent,
        deaf,
        slow_to_hear,
        dribbling(OK + b"X: ", b"x"),
        dribbling(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["silent", "deaf", "slow to hear", "head by byte", "hint by hint"],
)
def test_an_exchange_ends_at_its_deadline(script: Script) -> None:
    with wire(script) as it:
        begun = time.monotonic()
        with pytest.raises(TimedOut, match=r"0\.5 seconds"):
            post(it.url, LARGE * 4, seconds=0.5)
        assert time.monotonic() - begun >= 0.5


def test_a_body_ends_with_its_time() -> None:
    with wire(dribbling(OK + b"Content-Length: 1000\r\n\r\n", b"x")) as it, pytest.raises(TimedOut):
        fetch(it.url, seconds=0.4)


def test_a_handshake_ends_with_its_time() -> None:
    with wire(silent) as it, pytest.raises(TimedOut):
        fetch(it.url.replace("http:", "https:"), seconds=0.4)


def test_a_connection_that_is_not_taken_ends_with_its_time() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        others = [socket.socket() for _ in range(8)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}/", seconds=0.4)
        assert time.monotonic() - begun >= 0.4
        for other in others:
            other.close()


def test_the_time_in_which_certificates_are_read_is_not_the_server_s(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, read = time.monotonic, ssl.create_default_context
    lost = 0.0

    def slow(**options: Any) -> ssl.SSLContext:
        nonlocal lost
        lost = 3600.0
        return read(**options)

    monkeypatch.setattr(time, "monotonic", lambda: clock() + lost)
    monkeypatch.setattr(ssl, "create_default_context", slow)
    transport.tls_context.cache_clear()
    with wire(answering) as it:
        assert fetch(it.url) == b"{}"
    assert lost


# Nothing of the environment


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with wire(answering) as it:
        assert fetch(it.url) == b"{}"


def test_a_cookie_of_one_exchange_is_not_sent_in_another() -> None:
    with wire(answer("200 OK", "Set-Cookie: session=alice")) as it:
        for _ in range(2):
            fetch(it.url)
        heard = it.hung_up(connections=2)
    assert len(heard) == 2
    assert b"alice" not in heard[1]


def test_no_failure_quotes_the_request() -> None:
    with wire(saying(b"")) as it, pytest.raises(OutboundFailure) as caught:
        post(f"{it.url}/?{SECRET}", SECRET.encode())
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert SECRET not in told


def test_an_answer_is_not_shown() -> None:
    assert "quoted" not in repr(OutboundReply(status=200, headers=httpx.Headers(), content=b"quoted"))
