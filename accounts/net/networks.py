"""Writes an address in one way, and finds its network, for limits that hold for all machines of one caller together."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

# The bits of an IPv6 address that one caller cannot choose: its machines choose the rest themselves.
IPV6_BITS = 64


def unmapped(address: str) -> str:
    """Returns an address in its usual spelling, as IPv4 where IPv6 has that mapped. Any other text is returned as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def network_of(address: str) -> str:
    """Returns the part of an address that one caller has to itself: an IPv4 address, or the network of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), IPV6_BITS), strict=False))
    return str(parsed)
