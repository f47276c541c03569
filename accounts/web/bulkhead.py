"""Bounds who holds a thread of the web server for seconds: so many at once in one process.

Past the bound the answer comes at once, and asks to come again. A tenant may take a place while more are free than it holds
(the dynamic threshold of switches with a shared buffer): alone it gets half of them, the next gets half of the rest, and one
is left for whoever comes last. Rejected: a fixed half a tenant, with which two tenants shut out all others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager


class Busy(Exception):
    """All places are taken, or the tenant's share of them. `detail` is one sentence for the tenant."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Bulkhead:
    """As many as may be busy at once in this process."""

    def __init__(self, most: Callable[[], int], detail: str) -> None:
        self.most = most
        self.detail = detail
        self.lock = threading.Lock()
        self.taken: Counter[Hashable] = Counter()

    @contextmanager
    def acquire(self, owner: Hashable) -> Iterator[None]:
        """Takes a place for a tenant's id, or for whatever else stands for one caller. Raises `Busy`, at once."""
        most = self.most()
        with self.lock:
            if self.taken[owner] >= most - self.taken.total():
                raise Busy(self.detail)
            self.taken[owner] += 1
        try:
            yield
        finally:
            with self.lock:
                self.taken[owner] -= 1
                self.taken += Counter()  # drops who has none
