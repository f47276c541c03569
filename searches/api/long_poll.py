"""`Prefer: wait=N` (RFC 7240): holds a response back until the search has changed, for a few callers at a time.

Every waiting caller occupies a thread of the web server. Their number is therefore bounded, and no tenant has more than its
share (`accounts.web.bulkhead`). A caller beyond the bound is answered at once without `Preference-Applied`, as RFC 7240 allows.
A waiting caller holds no database connection.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from uuid import UUID

from django.conf import settings
from django.db import connection
from rest_framework.request import Request

from accounts.web.bulkhead import Bulkhead, Busy
from searches.lifecycle.live_updates import Listener

LONGEST_SECONDS = 60
# The row is read this often even without a message, because a message can be lost.
LOOK_SECONDS = 2.0
PREFERENCE = re.compile(r"""\s*wait\s*=\s*"?(\d{1,9})"?\s*(;.*)?""", re.IGNORECASE | re.ASCII)

slots = Bulkhead(lambda: settings.WAITERS_PER_PROCESS, "Too many wait already; the answer comes at once.")


def preferred_seconds(request: Request) -> int | None:
    """Returns the seconds that the caller prefers to wait, at most 60; None without a preference that can be read."""
    for preference in request.headers.get("Prefer", "").split(","):
        if match := PREFERENCE.fullmatch(preference):
            return min(int(match[1]), LONGEST_SECONDS)
    return None


def wait(
    is_over: Callable[[], bool], search_id: UUID, *, tenant_id: UUID, seconds: float, look: Callable[[], object]
) -> bool:
    """Waits until `is_over()`, for so many seconds at most. Returns False at once if too many callers wait already.

    `look`: called after each pause. What it raises ends the wait.
    """
    if is_over():
        return True
    try:
        with slots.acquire(tenant_id):
            _listen(is_over, search_id, time.monotonic() + seconds, look)
    except Busy:
        return False
    return True


def _listen(is_over: Callable[[], bool], search_id: UUID, deadline: float, look: Callable[[], object]) -> None:
    with closing(Listener(search_id)) as listener:
        # The search is read after subscribing, so that no change between the two is missed.
        while not is_over() and (left := deadline - time.monotonic()) > 0:
            connection.close()
            listener.wait(min(left, LOOK_SECONDS))
            look()
