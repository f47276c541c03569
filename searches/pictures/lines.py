"""Work on pictures that costs much: few do it at once in one process, and the others wait for their turn, each in a thread of
the web server. So they are bounded too, and no tenant takes more than half of the places.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from accounts.places import Busy, Places

# The turn of whoever waits behind three that are costly has come by then.
LONGEST_WAIT_SECONDS = 10.0


class Line:
    """Work that only so many do at once; the others wait for their turn, for a while, and no more of them than have places."""

    def __init__(self, *, at_once: int, places: int, detail: str) -> None:
        self.places = Places(lambda: places, detail)
        self.turns = threading.BoundedSemaphore(at_once)

    @contextmanager
    def turn_of(self, tenant_id: UUID | None) -> Iterator[None]:
        """Raises `Busy`."""
        with self.places.taken_by(tenant_id):
            if not self.turns.acquire(timeout=LONGEST_WAIT_SECONDS):
                raise Busy(self.places.detail)
            try:
                yield
            finally:
                self.turns.release()
