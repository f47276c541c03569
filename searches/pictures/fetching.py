"""Fetches a picture that a tenant gives by its URL, once, while the request for it is handled.

Each fetch holds a thread of the web server, so the time and the number of fetches are bounded. No fetch holds a database
connection.
"""

from __future__ import annotations

from django.conf import settings
from django.db import connection

from accounts.models import Tenant
from accounts.net import outbound
from accounts.web.bulkhead import Bulkhead

# Asked for AVIF by name, some servers would send nothing else.
ACCEPT = "image/*"
BUSY = "Too many pictures are being fetched right now; send the request again in a moment, or the picture itself."

slots = Bulkhead(lambda: settings.FETCHERS_PER_PROCESS, BUSY)


def fetched(tenant: Tenant, url: str) -> bytes:
    """Raises an `OutboundFailure`, or `Busy`."""
    with slots.acquire(tenant.pk):
        connection.close()
        return outbound.fetch(
            url, accept=ACCEPT, most_bytes=settings.PICTURE_MAX_BYTES, seconds=settings.PICTURE_FETCH_SECONDS
        )
