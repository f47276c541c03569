"""Lets a request that only waits for something else step aside, so that another one of its web process has its turn.

`config.request_turns` gives the turns. What waits (for a body, a decoder, a provider, the end of a search) has bounds of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

from django.db import connection


class Turns(Protocol):
    def leave(self, owner: Hashable) -> None: ...

    def come_back(self, owner: Hashable) -> None: ...


class _Turn(threading.local):
    """The turn of the request that this thread handles."""

    held: tuple[Turns, Hashable] | None = None


_this_thread = _Turn()


@contextmanager
def held(turns: Turns, owner: Hashable) -> Iterator[None]:
    """Notes that this thread has a turn during the block."""
    _this_thread.held = turns, owner
    try:
        yield
    finally:
        _this_thread.held = None


@contextmanager
def aside() -> Iterator[None]:
    """Leaves the turn to others during the block, and the database connection. Does nothing in a thread without a turn.

    If one that waits for its turn kept a connection, those that have a turn could find none left. Within a transaction the turn
    is kept: others could wait with their turns for the rows that it has locked.
    """
    if _this_thread.held is None or connection.in_atomic_block:
        yield
        return
    turns, owner = _this_thread.held
    _this_thread.held = None
    connection.close()
    turns.leave(owner)
    try:
        yield
    finally:
        turns.come_back(owner)
        _this_thread.held = turns, owner
