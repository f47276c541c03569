"""Reads the networks from which an API key is taken, and compares them with an address and with each other."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from accounts.net.networks import unmapped

Network = IPv4Network | IPv6Network


class BadNetwork(ValueError):
    """A text that is no network. The message says how to write one."""


def parse(text: str) -> str:
    """Returns a network in its usual spelling, `203.0.113.0/24`. An address alone is a network of one. Raises `BadNetwork`."""
    if not text.isascii() or "%" in text:
        raise BadNetwork("Must be an address or a network such as 203.0.113.0/24 or 2001:db8::/32.")
    try:
        network = ip_network(unmapped(text), strict=False)
    except ValueError:
        raise BadNetwork("Must be an address or a network such as 203.0.113.0/24 or 2001:db8::/32.") from None
    address, slash, length = text.partition("/")
    if slash and not length.isdecimal():
        raise BadNetwork(f"Give the length of the prefix as a number: {network}.")
    if ip_address(unmapped(address)) != network.network_address:
        raise BadNetwork(f"Has bits set behind its prefix; write {network}.")
    return str(network)


def contain(networks: Iterable[str], address: str) -> bool:
    """Returns whether one of the networks contains the address. A text that is no address is in no network."""
    try:
        wanted = ip_address(unmapped(address))
    except ValueError:
        return False
    return any(wanted in ip_network(network) for network in networks)


def within(networks: Iterable[str], others: Iterable[str]) -> bool:
    """Returns whether each network lies in one of the others."""
    outer = [ip_network(network) for network in others]
    return all(any(_lies_in(ip_network(network), other) for other in outer) for network in networks)


def _lies_in(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(other, IPv4Network):
        return network.subnet_of(other)
    return isinstance(network, IPv6Network) and isinstance(other, IPv6Network) and network.subnet_of(other)
