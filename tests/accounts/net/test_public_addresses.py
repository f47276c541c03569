"""Which addresses are asked: those that are public, however they are spelt. Every way around it that is known publicly
leads to a server that listens, on a port that is taken, and must hear nobody.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest
from pytest_django import Settings

from accounts.net import public_addresses
from accounts.net.failures import BadAddress, OutboundFailure, PrivateAddress, Unresolved
from tests.accounts.exchanges import Ask, each_way, fetch
from tests.accounts.names import names
from tests.providers.wire import Wire, answering, wire


def why_not(url: str, ask: Ask = fetch) -> OutboundFailure:
    with pytest.raises(OutboundFailure) as caught:
        ask(url)
    return caught.value


BYPASSES = [
    ("http://127.0.0.1:{port}/", PrivateAddress),
    ("http://localhost:{port}/", PrivateAddress),
    ("http://LOCALHOST:{port}/", PrivateAddress),
    ("http://[::ffff:127.0.0.1]:{port}/", PrivateAddress),
    ("http://[::ffff:7f00:1]:{port}/", PrivateAddress),
    ("http://0.0.0.0:{port}/", PrivateAddress),
    ("http://127.255.255.254:{port}/", PrivateAddress),
    ("http://127。0。0。1:{port}/", PrivateAddress),
    ("http://0:{port}/", BadAddress),
    ("http://127.1:{port}/", BadAddress),
    ("http://2130706433:{port}/", BadAddress),
    ("http://017700000001:{port}/", BadAddress),
    ("http://0177.0.0.1:{port}/", BadAddress),
    ("http://0x7f000001:{port}/", BadAddress),
    ("http://0x7f.0.0.1:{port}/", BadAddress),
    ("http://127.0.0.0x1:{port}/", BadAddress),
    ("http://localhost.:{port}/", BadAddress),
    ("http://127.0.0.1.:{port}/", BadAddress),
    ("http://１２７.0.0.1:{port}/", BadAddress),
    ("http://①②⑦.0.0.1:{port}/", BadAddress),
    ("http://ⓛocalhost:{port}/", BadAddress),
    ("http://%31%32%37.0.0.1:{port}/", BadAddress),
    ("http://example.com@127.0.0.1:{port}/", BadAddress),
    ("http://example.com\\@127.0.0.1:{port}/", BadAddress),
    ("http://example.com%2f@127.0.0.1:{port}/", BadAddress),
    ("http://127.0.0.1:{port}\\@example.com/", BadAddress),
    ("http://127.0.0.1\r\n:{port}/", BadAddress),
]


@each_way
@pytest.mark.parametrize(("url", "failure"), BYPASSES, ids=[ascii(url) for url, _ in BYPASSES])
def test_our_own_machine_is_not_asked(settings: Settings, ask: Ask, url: str, failure: type[OutboundFailure]) -> None:
    with wire(answering) as it:
        settings.OUTBOUND_PORTS = [it.port]
        assert type(why_not(url.format(port=it.port), ask)) is failure
        assert heard_nothing(it)


def heard_nothing(it: Wire) -> bool:
    """Returns whether no connection was made before: the first connection is the one that this makes, which sends nothing."""
    socket.create_connection(("127.0.0.1", it.port)).close()
    return it.hung_up() == [b""]


NOT_PUBLIC = {
    "loopback": "127.0.0.1 127.255.255.255 ::1",
    "private": "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 fc00::1 fdff::1 fec0::1",
    "shared": "100.64.0.1 100.127.255.255",
    "link-local": "169.254.0.1 fe80::1 fe80::a9fe:a9fe febf::1",
    "metadata": "169.254.169.254 fd00:ec2::254 fd20:ce::254 100.100.100.200 192.0.0.192 168.63.129.16",
    "multicast": "224.0.0.1 239.255.255.250 ff02::1 ff0e::1",
    "unspecified": "0.0.0.0 0.1.2.3 ::",
    "reserved": "240.0.0.1 255.255.255.255 192.0.0.1 192.0.0.9 192.0.0.170 100::1 100:0:0:1::1 2001:10::1 2001:20::1"
    " 4000::1 5f00::1",
    "benchmark": "198.18.0.1 198.19.255.255 2001:2::1",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1",
    "mapped": "::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1",
    "compatible": "::127.0.0.1 ::8.8.8.8",
    "6to4": "2002:7f00:1:: 2002:a9fe:a9fe:: 2002:808:808:: 192.88.99.1",
    "Teredo": "2001::1 2001:0:4136:e378:8000:63bf:80ff:fffe",
    "NAT64": "64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b::8.8.8.8 64:ff9b:1::127.0.0.1 64:ff9b:1:ffff::8.8.8.8",
}


@each_way
@pytest.mark.parametrize(
    ("kind", "address"), [(kind, address) for kind, addresses in NOT_PUBLIC.items() for address in addresses.split()]
)
def test_what_is_not_public_is_not_asked(ask: Ask, kind: str, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    assert type(why_not(f"http://{host}/latest/meta-data/", ask)) is PrivateAddress, kind


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "198.20.0.1", "223.255.255.1"])
def test_public_addresses_are_public(address: str) -> None:
    assert public_addresses.is_public(ip_address(address))


@pytest.mark.parametrize("address", ["2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_of_version_6_are_public(address: str) -> None:
    assert public_addresses.is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "https://"),
        ("example.com/a.jpg", "https://"),
        ("//example.com/a.jpg", "https://"),
        ("ftp://example.com/a.jpg", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "https://"),
        ("data:image/png;base64,AAAA", "https://"),
        ("http://", "host"),
        ("http:///a.jpg", "host"),
        ("http:example.com", "host"),
        ("http://.example.com/", "host"),
        ("http://example..com/", "host"),
        ("http://example.com./", "dot at its end"),
        ("http://-a.example.com/", "host"),
        ("http://exa mple.com/", "host"),
        (f"http://{'a' * 64}.example.com/", "host"),
        (f"http://{'a.' * 127}example.com/", "host"),
        ("http://[fe80::1%25eth0]/", "host"),
        ("http://[2606:4700::1111%25lo]/", "host"),
        ("http://[::1/", "address"),
        ("http://[127.0.0.1]/", "address"),
        ("http://[v1.a]/", "address"),
        ("http://exa\u200bmple.com/", "address"),
        ("http://example.com:http/", "address"),
        ("http://example.com/\ud800", "address"),
        ("http://example.com:0/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://alice@example.com/", "password"),
        ("http://alice:secret@example.com/", "password"),
        (f"http://example.com/{'a' * 2048}", "2048"),
    ],
    ids=ascii,
)
def test_what_no_address_may_be_is_said(url: str, says: str) -> None:
    with pytest.raises(BadAddress, match=says) as caught:
        public_addresses.parse(url)
    assert "secret" not in caught.value.detail


@each_way
@pytest.mark.parametrize("port", [22, 25, 5432, 6379, 8080])
def test_other_ports_are_not_asked(ask: Ask, port: int) -> None:
    failure = why_not(f"http://8.8.8.8:{port}/", ask)
    assert (failure.code, str(port) in failure.detail, "80 or 443" in failure.detail) == ("port_not_taken", True, True)


@each_way
def test_a_unicode_host_is_looked_up_as_dns_writes_it_and_checked(ask: Ask) -> None:
    with names(["127.0.0.1"]) as dns, pytest.raises(PrivateAddress):
        ask("http://Bücher.example/", look_up=dns.look_up)
    assert dns.questions[0][0] == "xn--bcher-kva.example"


def test_an_unknown_name_is_reported() -> None:
    assert type(why_not("http://nobody.invalid/")) is Unresolved


def test_networks_that_are_let_through_are_on_any_port(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.1/32")]
    with wire(answering) as it:
        assert fetch(it.url) == b"{}"
        assert type(why_not(f"http://[::ffff:127.0.0.1]:{it.port}/")) is BadAddress
    assert type(why_not("http://127.0.0.2/")) is PrivateAddress


@pytest.mark.parametrize(
    ("url", "failure"),
    [
        ("http://127.0.0.1/", PrivateAddress),
        ("https://[::ffff:10.0.0.1]/", PrivateAddress),
        ("https://8.8.8.8:8080/", BadAddress),
        ("https://example.com:22/", BadAddress),
        ("https://alice@example.com/", BadAddress),
    ],
)
def test_an_address_that_can_never_be_asked_is_refused_before_dns(url: str, failure: type[OutboundFailure]) -> None:
    with pytest.raises(failure):
        public_addresses.check(url)


@pytest.mark.parametrize(
    "url", ["https://nobody.invalid/", "https://localhost/", "http://8.8.8.8/", "https://8.8.8.8/"]
)
def test_an_address_that_needs_dns_passes_the_check(url: str) -> None:
    assert str(public_addresses.check(url)) == url


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_networks_that_are_let_through_are_promising_on_any_port(settings: Settings, host: str) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.1/32")]
    assert public_addresses.check(f"http://{host}:8123/").port == 8123
