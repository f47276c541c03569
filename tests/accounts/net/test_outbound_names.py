"""Names whose addresses change or are a mixture, asked of a real DNS server: what was checked is what is connected to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from socket import EAI_AGAIN, EAI_NONAME, gaierror
from threading import Event, Thread

import certifi
import pytest
from pytest_django import Settings

from accounts.net import outbound, transport
from accounts.net.dns import LookUps
from accounts.net.failures import BadTLS, ConnectionRefused, PrivateAddress, TimedOut, Unresolved
from tests.accounts.exchanges import Ask, each_way, fetch
from tests.accounts.names import AAAA, A, Names, names
from tests.providers.wire import Caller, Script, Wire, answering, self_signed, wire

NAME = "pictures.example"
# Two addresses of this machine: one plays the internet, the other is ours.
OPEN, OURS = "127.0.0.2", "127.0.0.1"


@pytest.fixture(autouse=True)
def _open(settings: Settings) -> None:
    try:
        socket.create_server((OPEN, 0)).close()
    except OSError:
        pytest.skip("This system gives itself 127.0.0.1 alone.")
    settings.OUTBOUND_ALLOW = [ip_network(OPEN)]


@pytest.fixture
def there() -> Iterator[Wire]:
    """A server at an address that is allowed."""
    with wire(saying(b"open"), host=OPEN) as it:
        yield it


@pytest.fixture
def ours(there: Wire, settings: Settings) -> Iterator[Wire]:
    """A server on the same port, which only the check of addresses protects."""
    settings.OUTBOUND_PORTS = [there.port]
    with wire(saying(b"ours"), host=OURS, port=there.port) as it:
        yield it


def saying(body: bytes) -> Script:
    def say(caller: Caller) -> None:
        caller.hear_request()
        caller.answer(body=body)

    return say


def asked(ask: Ask, dns: Names, port: int, *, scheme: str = "http") -> bytes:
    return ask(f"{scheme}://{NAME}:{port}/a.jpg", look_up=dns.look_up)


@each_way
def test_a_name_that_changes_between_check_and_connect_is_asked_once(ask: Ask, there: Wire, ours: Wire) -> None:
    with names([OPEN], [OURS]) as dns:
        assert asked(ask, dns, there.port) == b"open"
    assert dns.questions == [(NAME, A), (NAME, AAAA)]
    assert ours.callers == []


@each_way
def test_a_name_that_alternates_is_checked_each_time(ask: Ask, there: Wire, ours: Wire) -> None:
    with names([OPEN], [OURS], [OPEN], [OURS]) as dns:
        for _ in range(2):
            assert asked(ask, dns, there.port) == b"open"
            with pytest.raises(PrivateAddress):
                asked(ask, dns, there.port)
    assert ours.callers == []


@each_way
@pytest.mark.parametrize(
    "answers",
    [
        [OPEN, OURS],
        [OURS, OPEN],
        ["8.8.8.8", OPEN, "169.254.169.254"],
        [OPEN, "::1"],
        [OPEN, "::ffff:127.0.0.1"],
        [OPEN, "64:ff9b::7f00:1"],
        [OPEN] + [f"127.0.0.2{number}" for number in range(10)],
    ],
    ids=" ".join,
)
def test_one_address_that_is_not_public_refuses_them_all(ask: Ask, there: Wire, ours: Wire, answers: list[str]) -> None:
    with names(answers) as dns, pytest.raises(PrivateAddress) as caught:
        asked(ask, dns, there.port)
    assert there.callers == ours.callers == []
    assert not any(address in caught.value.detail for address in answers)


def test_the_next_address_is_tried_if_one_refuses(settings: Settings, there: Wire) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.0/8")]
    with names(["127.0.0.3", OPEN]) as dns:
        assert asked(fetch, dns, there.port) == b"open"


def test_of_many_addresses_a_few_are_tried(settings: Settings, there: Wire) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.0/8")]
    with names([f"127.0.1.{number}" for number in range(10)] + [OPEN]) as dns, pytest.raises(ConnectionRefused):
        asked(fetch, dns, there.port)
    assert there.callers == []


def test_the_server_receives_the_name(there: Wire) -> None:
    with names([OPEN]) as dns:
        asked(fetch, dns, there.port)
    assert f"\r\nhost: {NAME}:{there.port}\r\n".encode() in there.hung_up()[0].lower()


def test_a_name_without_addresses_is_said() -> None:
    with names([]) as dns, pytest.raises(Unresolved):
        asked(fetch, dns, 80)


def test_a_look_up_takes_no_longer_than_the_exchange_may() -> None:
    done, found = Event(), Event()

    def hang(host: str) -> list[str]:
        done.wait(60)
        found.set()
        return [OPEN]

    with pytest.raises(TimedOut):
        fetch(f"http://{NAME}/", seconds=0.3, look_up=hang)
    assert not found.is_set()
    done.set()


def test_look_ups_that_hang_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup beyond the bound waits for a slot, until its own time limit."""
    heard, done = [], Event()

    def hang(host: str) -> list[str]:
        heard.append(host)
        done.wait(5)
        return []

    for _ in range(outbound.LOOKUPS_AT_ONCE + 2):
        with pytest.raises(TimedOut):
            fetch(f"http://{NAME}/", seconds=0.02, look_up=hang)
    done.set()
    assert len(heard) == outbound.LOOKUPS_AT_ONCE
    with names([]) as dns, pytest.raises(Unresolved):
        asked(fetch, dns, 80)


@pytest.mark.parametrize(("said", "code"), [(EAI_NONAME, "dns_failed"), (EAI_AGAIN, "dns_unavailable")])
def test_an_unknown_name_and_an_unreachable_dns_have_different_codes(said: int, code: str) -> None:
    def look_up(host: str) -> list[str]:
        raise gaierror(said, "what it says is for people")

    with pytest.raises(Unresolved) as refused:
        fetch(f"http://{NAME}/", look_up=look_up)
    assert refused.value.code == code


# TLS


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Makes a certificate for the name, by an authority that is trusted."""
    certificate = self_signed(tmp_path, NAME)
    monkeypatch.setattr(certifi, "where", lambda: str(certificate))
    transport.tls_context.cache_clear()
    yield certificate
    transport.tls_context.cache_clear()


def test_a_certificate_is_held_against_the_name(trusted: Path) -> None:
    with wire(saying(b"open"), certificate=trusted, host=OPEN) as it, names([OPEN]) as dns:
        assert asked(fetch, dns, it.port, scheme="https") == b"open"


def test_a_certificate_for_another_name_is_said(trusted: Path, tmp_path: Path) -> None:
    with wire(answering, certificate=trusted, host=OPEN) as it:
        with pytest.raises(BadTLS, match=r"not valid for '127\.0\.0\.2'"):
            fetch(it.url)
        assert it.hung_up() == [b""]


def test_an_untrusted_certificate_is_reported(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, NAME)
    with wire(answering, certificate=certificate, host=OPEN) as it, names([OPEN]) as dns:
        with pytest.raises(BadTLS, match="certificate is not valid"):
            asked(fetch, dns, it.port, scheme="https")
        assert it.hung_up() == [b""]


def test_a_server_without_tls_is_said() -> None:
    def talk(caller: Caller) -> None:
        caller.hear()
        caller.answer("400 Bad Request")

    with wire(talk, host=OPEN) as it, names([OPEN]) as dns, pytest.raises(BadTLS, match="speaks https"):
        asked(fetch, dns, it.port, scheme="https")


def test_a_look_up_whose_thread_cannot_be_started_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    look_ups = LookUps(at_once=1)
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            look_ups.ask(NAME, seconds=1, look_up=lambda host: [OPEN])
    assert look_ups.ask(NAME, seconds=5, look_up=lambda host: [OPEN]) == [OPEN]
