"""Bounds the costly work on pictures in one web process: some at once, and turns by tenant for those that wait.

The tenant whose last turn was longest ago is next. A picture therefore waits for one picture at most of each other tenant. Each
waiter holds a thread of the web server, so their number is bounded too: when all places are taken, the last waiter of the tenant
with the most makes room for a tenant with fewer.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from accounts.web.bulkhead import Busy


class QueuedReading:
    """Represents one request that waits for its turn."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.refused = False


class WaitingBulkhead:
    """Admits work: `at_once` run and `places` wait, of which a tenant has at most `share`, each for `wait_seconds`."""

    def __init__(self, *, at_once: int, places: int, share: int, wait_seconds: float, detail: str) -> None:
        self.at_once = at_once
        self.places = places
        self.share = share
        self.wait_seconds = wait_seconds
        self.detail = detail
        self.lock = threading.Lock()
        self.running: Counter[UUID | None] = Counter()
        self.waiting: dict[UUID | None, deque[QueuedReading]] = {}
        self.turns = 0
        self.last_turn: dict[UUID | None, int] = {}

    @contextmanager
    def turn_of(self, tenant_id: UUID | None) -> Iterator[None]:
        """Holds a turn for the time of the block. Raises `Busy`."""
        waiter = self._enter(tenant_id)
        if waiter is not None:
            self._wait(tenant_id, waiter)
        try:
            yield
        finally:
            with self.lock:
                self.running[tenant_id] -= 1
                self._call_next()

    def taken_by(self, tenant_id: UUID | None) -> int:
        return self.running[tenant_id] + len(self.waiting.get(tenant_id, ()))

    def _enter(self, tenant_id: UUID | None) -> QueuedReading | None:
        """Begins at once and returns None, or queues a waiter."""
        with self.lock:
            if self.taken_by(tenant_id) >= self.share:
                raise Busy(self.detail)
            if self.running.total() < self.at_once:
                self._begin(tenant_id)
                return None
            if sum(map(len, self.waiting.values())) >= self.places:
                self._make_room_for(tenant_id)
            waiter = QueuedReading()
            self.waiting.setdefault(tenant_id, deque()).append(waiter)
            return waiter

    def _wait(self, tenant_id: UUID | None, waiter: QueuedReading) -> None:
        in_time = waiter.called.wait(self.wait_seconds)
        with self.lock:
            if not in_time and not waiter.called.is_set():
                self._drop(tenant_id, waiter)
                waiter.refused = True
        if waiter.refused:
            raise Busy(self.detail)

    def _make_room_for(self, tenant_id: UUID | None) -> None:
        most = max(self.waiting, key=lambda each: len(self.waiting[each]), default=tenant_id)
        if len(self.waiting.get(most, ())) <= len(self.waiting.get(tenant_id, ())) + 1:
            raise Busy(self.detail)
        last = self.waiting[most][-1]
        self._drop(most, last)
        last.refused = True
        last.called.set()

    def _drop(self, tenant_id: UUID | None, waiter: QueuedReading) -> None:
        self.waiting[tenant_id].remove(waiter)
        if not self.waiting[tenant_id]:
            del self.waiting[tenant_id]

    def _begin(self, tenant_id: UUID | None) -> None:
        self.turns += 1
        self.running[tenant_id] += 1
        self.last_turn[tenant_id] = self.turns

    def _call_next(self) -> None:
        if not self.waiting:
            if not self.running.total():
                self.last_turn.clear()
            return
        following = min(self.waiting, key=lambda each: self.last_turn.get(each, 0))
        waiter = self.waiting[following][0]
        self._drop(following, waiter)
        self._begin(following)
        waiter.called.set()
