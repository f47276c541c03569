"""`Prefer: wait=N` (RFC 7240): holds an answer back until there is news, for a few callers at a time.

A caller that waits occupies a thread of the web server, so their number is bounded, and no tenant has more than a share
(`accounts.web.bulkhead`). Past it the answer comes at once, as RFC 7240 allows, and says so by having no
`Preference-Applied`. None holds a database connection while it waits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from uuid import UUID

from django.conf import settings
from django.db import connection
from rest_framework.request import Request

from accounts.web.bulkhead import Bulkhead, Busy
from searches.lifecycle.live_updates import Listener

LONGEST_SECONDS = 60
# A message can be lost; the row is looked at this often whatever happens.
LOOK_SECONDS = 2.0
PREFERENCE = re.compile(r"""\s*wait\s*=\s*"?(\d{1,9})"?\s*(;.*)?""", re.IGNORECASE | re.ASCII)

slots = Bulkhead(lambda: settings.WAITERS_PER_PROCESS, "Too many wait already; the answer comes at once.")


def asked(request: Request) -> int | None:
    """Seconds that the caller wants to wait; more than 60 are read as 60. A preference that makes no sense is none."""
    for preference in request.headers.get("Prefer", "").split(","):
        if match := PREFERENCE.fullmatch(preference):
            return min(int(match[1]), LONGEST_SECONDS)
    return None


def until(over: Callable[[], bool], search_id: UUID, *, tenant_id: UUID, seconds: float) -> bool:
    """Returns when `over()` or the time is; False, at once, where too many wait already, of all or of the tenant's."""
    if over():
        return True
    try:
        with slots.acquire(tenant_id):
            _wait(over, search_id, time.monotonic() + seconds)
    except Busy:
        return False
    return True


def _wait(over: Callable[[], bool], search_id: UUID, deadline: float) -> None:
    with Listener(search_id) as listener:
        # Looks once more after subscribing: what changed in between was announced to nobody.
        while not over() and (left := deadline - time.monotonic()) > 0:
            connection.close()
            listener.wait(min(left, LOOK_SECONDS))
