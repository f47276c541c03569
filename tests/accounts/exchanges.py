"""Both ways in which a tenant's address is asked: for a picture, and with a body that tells an endpoint something."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from accounts.net import outbound, public_addresses
from accounts.net.dns import LookUp, by_the_system

Ask = Callable[..., bytes]


def fetch(url: str, *, most_bytes: int = 1000, seconds: float = 5, look_up: LookUp = by_the_system) -> bytes:
    return outbound.fetch(url, accept="image/*", most_bytes=most_bytes, seconds=seconds, look_up=look_up)


def post(url: str, *, seconds: float = 5, look_up: LookUp = by_the_system) -> bytes:
    """Posts a body, and returns the answer, which must be a 200."""
    request = httpx.Request(
        "POST", public_addresses.parse(url), headers={"Webhook-Id": "7"}, content=b'{"type": "ping"}'
    )
    reply = outbound.send(request, most_bytes=1000, seconds=seconds, look_up=look_up)
    reply.expect(200)
    return reply.content


each_way = pytest.mark.parametrize("ask", [fetch, post])
