"""Bounds who is busy with pictures at once in one process: each holds a thread of the web server, for seconds.

Past the bound the answer comes at once, and asks to come again; no tenant takes more than half of the places, so that one
with slow servers or costly pictures leaves some to the others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

# The turn of whoever waits behind three that are costly has come by then.
LONGEST_WAIT_SECONDS = 10.0


class Busy(Exception):
    """All places are taken, or the tenant's share of them. `detail` is one sentence for the tenant."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Places:
    """As many as may be busy at once in this process."""

    def __init__(self, most: Callable[[], int], detail: str) -> None:
        self.most = most
        self.detail = detail
        self.lock = threading.Lock()
        self.taken: Counter[UUID | None] = Counter()

    @contextmanager
    def taken_by(self, tenant_id: UUID | None) -> Iterator[None]:
        """Raises `Busy`, at once."""
        most = self.most()
        with self.lock:
            if self.taken.total() >= most or self.taken[tenant_id] >= (most + 1) // 2:
                raise Busy(self.detail)
            self.taken[tenant_id] += 1
        try:
            yield
        finally:
            with self.lock:
                self.taken[tenant_id] -= 1
                self.taken += Counter()  # drops who has none


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
