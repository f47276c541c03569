"""Fetches a picture that a tenant gives by its URL, once, while the request for it is handled.

A slow server so holds a thread of the web server: the time and the number of fetches are bounded, and no tenant takes more than
half of the places, so that one with slow servers leaves some to the others. None holds a database connection meanwhile.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings
from django.db import connection

from accounts import outbound
from accounts.models import Tenant

# Asked for AVIF by name, some servers would send nothing else.
ACCEPT = "image/*"


class Busy(Exception):
    """All places are taken, or the tenant's share of them."""


class Places:
    """As many as may fetch at once in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken: Counter[UUID] = Counter()

    @contextmanager
    def taken_by(self, tenant: Tenant) -> Iterator[None]:
        """Raises `Busy`, at once."""
        most = settings.FETCHERS_PER_PROCESS
        with self.lock:
            if self.taken.total() >= most or self.taken[tenant.pk] >= (most + 1) // 2:
                raise Busy
            self.taken[tenant.pk] += 1
        try:
            yield
        finally:
            with self.lock:
                self.taken[tenant.pk] -= 1
                self.taken += Counter()  # drops who has none


places = Places()


def fetched(tenant: Tenant, url: str) -> bytes:
    """Raises an `outbound.Failure`, or `Busy`."""
    with places.taken_by(tenant):
        connection.close()
        return outbound.fetch(
            url, accept=ACCEPT, most_bytes=settings.PICTURE_MAX_BYTES, seconds=settings.PICTURE_FETCH_SECONDS
        )
