"""Bounds costly work in one web process: some runs at once, and those that wait get turns by owner, who is mostly a tenant.

The owner whose last turn was longest ago is next. Work therefore waits for one piece of work at most of each other owner. Each
waiter holds a thread of the web server, so their number is bounded too: when all places are taken, the last waiter of the owner
with the most makes room for an owner with fewer.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from accounts.web.bulkhead import Busy


class QueuedWork:
    """Represents one request that waits for its turn."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.refused = False


class WaitingBulkhead:
    """Admits work: `at_once` run and `places` wait, of which an owner has at most `share`, each for `wait_seconds`."""

    def __init__(self, *, at_once: int, places: int, share: int, wait_seconds: float, detail: str) -> None:
        self.at_once = at_once
        self.places = places
        self.share = share
        self.wait_seconds = wait_seconds
        self.detail = detail
        self.lock = threading.Lock()
        self.running: Counter[Hashable] = Counter()
        self.waiting: dict[Hashable, deque[QueuedWork]] = {}
        self.turns = 0
        self.last_turn: dict[Hashable, int] = {}

    @contextmanager
    def turn_of(self, owner: Hashable) -> Iterator[None]:
        """Holds a turn for the time of the block. Raises `Busy`."""
        waiter = self._enter(owner)
        if waiter is not None:
            self._wait(owner, waiter)
        try:
            yield
        finally:
            self.leave(owner)

    def leave(self, owner: Hashable) -> None:
        """Ends a turn, or interrupts it until `come_back`."""
        with self.lock:
            self.running[owner] -= 1
            self.running += Counter()  # drops owners without a turn
            self._call_next()

    def come_back(self, owner: Hashable) -> None:
        """Goes on with an interrupted turn, behind what waits of the same owner. Waits for as long as it takes."""
        with self.lock:
            if self._may_run(owner):
                self._begin(owner)
                return
            waiter = self._queued(owner)
        waiter.called.wait()

    def taken_by(self, owner: Hashable) -> int:
        return self.running[owner] + len(self.waiting.get(owner, ()))

    def _enter(self, owner: Hashable) -> QueuedWork | None:
        """Begins at once and returns None, or queues a waiter."""
        with self.lock:
            if self.taken_by(owner) >= self.share:
                raise Busy(self.detail)
            if self._may_run(owner):
                self._begin(owner)
                return None
            if sum(map(len, self.waiting.values())) >= self.places:
                self._make_room_for(owner)
            return self._queued(owner)

    def _queued(self, owner: Hashable) -> QueuedWork:
        waiter = QueuedWork()
        self.waiting.setdefault(owner, deque()).append(waiter)
        return waiter

    def _may_run(self, owner: Hashable) -> bool:
        return self.running.total() < self.at_once

    def _wait(self, owner: Hashable, waiter: QueuedWork) -> None:
        in_time = waiter.called.wait(self.wait_seconds)
        with self.lock:
            if not in_time and not waiter.called.is_set():
                self._drop(owner, waiter)
                waiter.refused = True
        if waiter.refused:
            raise Busy(self.detail)

    def _make_room_for(self, owner: Hashable) -> None:
        most = max(self.waiting, key=lambda each: len(self.waiting[each]), default=owner)
        if len(self.waiting.get(most, ())) <= len(self.waiting.get(owner, ())) + 1:
            raise Busy(self.detail)
        last = self.waiting[most][-1]
        self._drop(most, last)
        last.refused = True
        last.called.set()

    def _drop(self, owner: Hashable, waiter: QueuedWork) -> None:
        self.waiting[owner].remove(waiter)
        if not self.waiting[owner]:
            del self.waiting[owner]

    def _begin(self, owner: Hashable) -> None:
        self.turns += 1
        self.running[owner] += 1
        self.last_turn[owner] = self.turns

    def _call_next(self) -> None:
        """Begins the work of those that wait, as far as it may run."""
        while able := [owner for owner in self.waiting if self._may_run(owner)]:
            following = min(able, key=lambda each: self.last_turn.get(each, 0))
            waiter = self.waiting[following][0]
            self._drop(following, waiter)
            self._begin(following)
            waiter.called.set()
        if not self.waiting and not self.running:
            self.last_turn.clear()
