"""Tests which answers are read, and over which connections."""

from __future__ import annotations

import gzip
import socket
import time
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from random import Random

import brotli
import certifi
import pytest
import zstandard

from providers import http
from providers.failures import Garbled, Lost
from providers.limiter import TokenRefused
from tests.providers.lanes import LoggedLane, a_rate
from tests.providers.test_http import LARGE, answer_less_than_announced, send, waiting_token, what_came
from tests.providers.wire import Caller, Script, answering, self_signed, wire

pytestmark = pytest.mark.usefixtures("fresh_connections")


# What answers may be


def test_an_answer_of_more_than_10_mb_is_garbled() -> None:
    def flood(caller: Caller) -> None:
        caller.hear_request()
        caller.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            caller.say(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    with wire(flood) as it, pytest.raises(Garbled) as caught:
        send(it.url)
    assert (caught.value.code, caught.value.status) == ("answer_too_large", 200)


def test_an_answer_of_10_mb_is_taken() -> None:
    def much(caller: Caller) -> None:
        caller.hear_request()
        caller.answer(body=bytes(http.MOST_BYTES))

    with wire(much) as it:
        assert len(send(it.url).content) == http.MOST_BYTES


def send_coded(content: bytes, codings: str) -> http.Reply:
    """Answers in codings that were not asked for."""

    def coded(caller: Caller) -> None:
        caller.hear_request()
        caller.answer("200 OK", content, f"Content-Encoding: {codings}")

    with wire(coded) as it:
        return send(it.url)


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": gzip.compress,
    "deflate": zlib.compress,
    " deflate": raw_deflate,
    "br": lambda content: brotli.compress(content, quality=1),
    "zstd": zstandard.compress,
    "br, gzip": lambda content: gzip.compress(brotli.compress(content, quality=1)),
}
SAID = b'{"code": 0, "data": []}' * 1000


@pytest.mark.parametrize("codings", PACKERS)
def test_an_answer_in_a_coding_that_was_not_asked_for_is_read(codings: str) -> None:
    assert send_coded(PACKERS[codings](SAID), codings).content == SAID


@pytest.mark.parametrize("codings", PACKERS)
def test_what_unpacks_to_more_than_10_mb_is_garbled_and_unpacked_no_further(codings: str) -> None:
    bomb = PACKERS[codings](bytes(80_000_000))
    assert len(bomb) < 1_000_000
    tracemalloc.start()
    with pytest.raises(Garbled) as caught:
        send_coded(bomb, codings)
    assert tracemalloc.get_traced_memory()[1] < 6 * http.MOST_BYTES
    tracemalloc.stop()
    assert (caught.value.code, caught.value.status) == ("answer_too_large", 200)


def test_several_gzip_members_are_one_answer_and_padding_is_none() -> None:
    assert send_coded(gzip.compress(b"{") + gzip.compress(b"}") + bytes(8), "gzip").content == b"{}"


@pytest.mark.parametrize("codings", ["gzip", "deflate", "br", "zstd", "identity", "utf-8", "compress", "", "gzip, br"])
def test_what_is_not_coded_as_its_header_says_is_left_as_it_came(codings: str) -> None:
    assert send_coded(SAID, codings).content == SAID


def noise() -> bytes:
    """Returns letters by chance, which pack to several blocks of each coding."""
    return b64encode(Random(0).randbytes(600_000))


@pytest.mark.parametrize("codings", PACKERS)
@pytest.mark.parametrize("tail", [b"\n", b"x", bytes(8), b"\xff" * 6_000], ids=range(4))
def test_bytes_behind_a_packed_answer_are_dropped(codings: str, tail: bytes) -> None:
    for said in (b"{}", SAID, noise()):
        assert send_coded(PACKERS[codings](said) + tail, codings).content == said


@pytest.mark.parametrize("codings", [name for name in PACKERS if "," not in name])
@pytest.mark.parametrize("tail", [b"", b"\xff" * 6_000], ids=["cut", "damaged"])
def test_of_an_answer_that_is_cut_or_damaged_there_is_what_comes_before(codings: str, tail: bytes) -> None:
    said = noise()
    packed = PACKERS[codings](said)
    read = send_coded(packed[: len(packed) * 3 // 4] + tail, codings).content
    sound = said[: len(said) // 2]
    assert read[: len(sound)] == sound


@pytest.mark.parametrize("codings", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize(
    "said", [b"[]", b"{}", b"0", b";;", b'"\xc3\xa9', "[{é".encode(), b"<html>", b"x" * 5_000], ids=range(8)
)
def test_a_text_that_no_coding_was_applied_to_is_never_read_as_packed(codings: str, said: bytes) -> None:
    assert send_coded(said, codings).content == said


def test_compressed_answers_are_not_asked_for() -> None:
    with wire(answering) as it:
        send(it.url)
    assert b"accept-encoding: identity\r\n" in it.hung_up()[0].lower()


def refuse_early(caller: Caller) -> None:
    caller.hear_head()
    caller.answer("401 Unauthorized", b"no", "Connection: close")


def linger(caller: Caller) -> None:
    refuse_early(caller)
    caller.socket.shutdown(socket.SHUT_WR)
    caller.hear_all()


@pytest.mark.parametrize("script", [refuse_early, linger])
def test_an_answer_that_comes_while_the_body_is_sent_is_the_answer(script: Script) -> None:
    with wire(script) as it:
        reply = send(it.url, body=LARGE)
    assert (reply.status, reply.content) == (401, b"no")


@pytest.mark.parametrize("place", ["{url}/elsewhere", "javascript:x", "http:\\\\x", "http://[::1"])
def test_redirects_are_not_followed(place: str) -> None:
    def elsewhere(caller: Caller) -> None:
        caller.hear_request()
        caller.answer("307 Temporary Redirect", b"", f"Location: {place.format(url=it.url)}")

    with wire(elsewhere, answering) as it:
        assert send(it.url).status == 307
    assert len(it.callers) == 1


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with wire(answering) as it:
        assert send(it.url).status == 200


def test_a_cookie_of_one_tenants_call_is_not_sent_with_anothers() -> None:
    def give(caller: Caller) -> None:
        caller.hear_request()
        caller.answer("200 OK", b"{}", "Set-Cookie: session=alice")
        answering(caller)

    with wire(give) as it:
        send(it.url)
        send(it.url)
    assert b"session" not in it.hung_up()[0]


# Connections


def test_a_connection_serves_call_after_call() -> None:
    with wire(answering) as it:
        assert [send(it.url).status for _ in range(3)] == [200] * 3
        assert len(it.callers) == 1


def test_a_trusted_certificate_serves_call_after_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path)
    monkeypatch.setattr(certifi, "where", lambda: str(certificate))
    with wire(answering, certificate=certificate) as it:
        assert [send(it.url).status for _ in range(3)] == [200] * 3
        assert len(it.callers) == 1


def answer_once(caller: Caller) -> None:
    caller.hear_request()
    caller.answer()


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    with wire(answer_once, answering) as it:
        send(it.url)
        it.talks[0].join()
        assert send(it.url).status == 200
        assert len(it.callers) == 2


def test_after_a_lost_call_the_next_has_a_connection_of_its_own() -> None:
    with wire(answer_less_than_announced, answering) as it:
        assert what_came(it.url) is Lost
        assert send(it.url).status == 200


def test_a_kept_connection_that_is_closed_while_the_call_waits_for_its_instant_sends_nothing() -> None:
    def hang_up_soon(caller: Caller) -> None:
        answer_once(caller)
        time.sleep(0.3)

    token = waiting_token(LoggedLane(a_rate(1, 2000)))
    with wire(hang_up_soon, answering) as it:
        send(it.url)
        with pytest.raises(TokenRefused):
            send(it.url, token=token)
        assert send(it.url).status == 200
    assert token.sent_at is None
    assert [heard.count(b"POST") for heard in it.hung_up()] == [1, 1]
