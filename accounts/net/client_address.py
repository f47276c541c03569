"""Finds the address of the client that sent a request, which a proxy of ours may have handed on."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts.net.networks import unmapped


def address_of(request: HttpRequest) -> str:
    """Returns the address that connected; behind a proxy of ours, the last that `X-Forwarded-For` names."""
    address = unmapped(str(request.META.get("REMOTE_ADDR", "")))
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    with suppress(ValueError):  # of a socket without an address, or a proxy that sends none
        if any(ip_address(address) in network for network in settings.PROXIES):
            return str(ip_address(unmapped(forwarded)))
    return address


def address_in(environ: dict[str, Any]) -> str:
    """Returns the address for a request of which there is only the environment so far.

    A `WSGIRequest` would decode the path in there, and the next one, Django's, could not decode it again.
    """
    request = HttpRequest()
    request.META = environ
    return address_of(request)
