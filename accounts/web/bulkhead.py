"""Bounds the requests that occupy a thread of the web server for seconds, in one process.

Beyond the bound a request is answered at once, with the advice to ask again. A tenant may acquire a slot while more are free than
it holds (the dynamic threshold of switches with a shared buffer): alone it gets half of them, the next tenant half of the rest,
and one is left for the last. Rejected: a fixed half for each tenant, with which two tenants exclude all others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from accounts.web import turns


class Busy(Exception):
    """All slots are taken, or the tenant's share of them. `detail`: one sentence for the tenant."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Bulkhead:
    """The slots of this process. `most`: how many there are now."""

    def __init__(self, most: Callable[[], int], detail: str) -> None:
        self.most = most
        self.detail = detail
        self.lock = threading.Lock()
        self.taken: Counter[Hashable] = Counter()

    def has_room(self, owner: Hashable, most: int) -> bool:
        """Returns whether the owner may acquire another of `most` slots."""
        return self.taken[owner] < most - self.taken.total()

    @contextmanager
    def acquire(self, owner: Hashable) -> Iterator[None]:
        """Holds a slot for a tenant's id, or for another identity of one caller. Raises `Busy` at once."""
        most = self.most()
        with self.lock:
            if not self.has_room(owner, most):
                raise Busy(self.detail)
            self.taken[owner] += 1
        try:
            with turns.aside():
                yield
        finally:
            with self.lock:
                self.taken[owner] -= 1
                self.taken += Counter()  # drops owners without a slot
