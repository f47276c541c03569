"""Shows the first page: what Sightline is, and a search to try in the browser, with a test key and the public API alone.

On a machine of its own (`make serve`) a browser of that machine gets the test key that `serve` made. Everybody else pastes one.
The page keeps the key in memory, and refuses a live key, whose searches would cost credits.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static

from accounts.net.client_address import address_of
from config import views
from config.launcher import logins
from providers import registry
from providers.contract import Adapter

# As many results as fit beside each other in a few rows.
SHOWN = 12
# Posts of creators in the sandbox, cut, darkened and compressed as pictures on the web are.
SAMPLES = ("mug", "city", "landscape")
NAMES = {
    "tiktok-creators": "Creators",
    "tiktok-products": "Products",
    "public-videos": "Public videos",
    "private-videos": "Videos of your own library",
}


@views.safe
def page(request: HttpRequest) -> HttpResponse:
    shown = {
        "key": key_of_serve(request),
        "most_bytes": settings.PICTURE_MAX_BYTES,
        "samples": [(name, static(f"sightline/samples/{name}.jpg")) for name in SAMPLES],
        "sources": [source(adapter) for adapter in registry.ADAPTERS.values()],
        "shown": SHOWN,
    }
    response = render(request, "try.html", shown)
    response["Content-Security-Policy"] = views.content_policy(pictures_from())
    response["Cache-Control"] = "no-store"
    return response


def source(adapter: Adapter) -> dict[str, Any]:
    """Returns a source with the lookup that the page asks it for."""
    lookup: dict[str, Any] = {"source": adapter.source}
    if adapter.max_results is not None:
        lookup["limit"] = min(SHOWN, adapter.max_results)
    name = NAMES.get(adapter.source, adapter.source)
    return {"source": adapter.source, "name": name, "title": adapter.title, "lookup": json.dumps(lookup)}


def key_of_serve(request: HttpRequest) -> str:
    """Returns the test key that `serve` made, for a browser on the same machine. There is none for others, and in production."""
    if settings.PRODUCTION or not is_of_this_machine(request):
        return ""
    return logins.kept(settings.STATE_DIR).test


def is_of_this_machine(request: HttpRequest) -> bool:
    """Returns whether a browser of this machine asks directly. What a proxy or a tunnel hands on has another name or a header."""
    name = urlsplit(f"//{request.get_host()}").hostname or ""
    handed_on = any(header in request.headers for header in ("X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via"))
    return not handed_on and is_loopback(name) and is_loopback(address_of(request))


def is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def pictures_from() -> str:
    """Returns from where the page may show pictures: the chosen one, those of results at any https address, and the sandbox's."""
    address = urlsplit(settings.SANDBOX_PICTURES)
    return f"'self' data: blob: https: {address.scheme}://{address.netloc}"
