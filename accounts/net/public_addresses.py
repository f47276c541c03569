"""Decides which addresses may be asked: by the spelling of a URL, and by the network that an IP address is in.

Resolvers read old spellings of IPv4 addresses, and some ranges are public to Python and private to their cloud. Both are
refused here, whatever the name looks like.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx
from django.conf import settings

from accounts.net.failures import BadAddress, PrivateAddress
from accounts.net.networks import unmapped

Address = IPv4Address | IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_URL = 2048
LONGEST_HOST = 253
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Resolvers read a host whose last label is such a number as an IPv4 address of some old spelling.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# The range that IANA gives out for use between networks (RFC 4291). Addresses outside embed IPv4 (mapped, compatible,
# translated, NAT64), or are local, multicast or reserved.
UNICAST_V6 = ip_network("2000::/3")
# Ranges that `is_global` takes for public, at least in one of the Pythons from 3.11 on.
NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata at .192
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # a cloud's metadata, at an address that is public elsewhere
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


def parse(url: str) -> httpx.URL:
    """Returns a URL as its parts. Raises `BadAddress` where its spelling says that it may not be asked."""
    if len(url) > LONGEST_URL:
        raise BadAddress(f"Has {len(url)} characters; give an address of at most {LONGEST_URL}.")
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise BadAddress("Not an address; give one such as https://example.com/a.jpg.") from None
    if parts.scheme not in ("http", "https"):
        raise BadAddress("Must begin with https:// or http://.")
    if parts.userinfo:
        raise BadAddress("Holds a user name or password (before the @), which is not sent; leave it out.")
    if parts.port is not None and not 0 < parts.port < 65536:
        raise BadAddress("The port must be from 1 to 65535.")
    _check_host(parts.raw_host.decode())
    return parts


def check(url: str) -> httpx.URL:
    """Parses a URL, and checks what can be checked before DNS is asked. Raises `BadAddress` or `PrivateAddress`.

    An allowed network is allowed on any port, and a name may lead there.
    """
    parts = parse(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    ip = literal(parts.raw_host.decode())
    if ip:
        check_ip(ip, port)
    elif not settings.OUTBOUND_ALLOW:
        _check_port(port)
    return parts


def host_of(url: httpx.URL) -> str:
    """Returns the host of a parsed URL in one spelling, without the port."""
    return unmapped(url.raw_host.decode().lower())


def is_public(address: Address) -> bool:
    """Returns whether an address is for use between networks, and embeds no other. Python's `is_global` does not suffice."""
    if isinstance(address, IPv6Address) and address not in UNICAST_V6:
        return False
    listed = any(address in network for network in NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not listed


def check_ip(address: Address, port: int) -> None:
    """Raises `PrivateAddress` or `BadAddress` unless the address may be connected to on this port."""
    if any(address in network for network in settings.OUTBOUND_ALLOW):
        return
    _check_port(port)
    if not is_public(address):
        raise PrivateAddress("It leads to an address that is not public; give one that is open to the internet.")


def _check_port(port: int) -> None:
    if port not in settings.OUTBOUND_PORTS:
        ports = " or ".join(str(port) for port in settings.OUTBOUND_PORTS)
        raise BadAddress(f"Port {port} is not called; give an address on port {ports}.", code="port_not_taken")


def _check_host(host: str) -> None:
    if literal(host):
        return
    labels = host.lower().split(".")
    is_name = len(host) <= LONGEST_HOST and all(LABEL.fullmatch(label) for label in labels)
    if not is_name or NUMBER.fullmatch(labels[-1]):
        raise BadAddress("Its host is no name of a server; give one such as example.com, without a dot at its end.")


def literal(host: str) -> Address | None:
    """Returns a host as an IP address, if it is one in its usual spelling. One with a zone would mean a network of ours."""
    try:
        return None if "%" in host else ip_address(host)
    except ValueError:
        return None
