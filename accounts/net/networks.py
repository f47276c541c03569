"""Names the network of an address, for bounds that hold for all its machines together."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

# A network of this many bits is one caller's: its machines choose the rest of their addresses themselves.
IPV6_BITS = 64


def network_of(address: str) -> str:
    """Returns what of an address one caller has to itself: all of one of version 4, the network of one of version 6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), IPV6_BITS), strict=False))
    return str(parsed)
