"""Calls in threads of their own, as a web server makes them: real transactions side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections

from tests.patience import until

Call = Callable[[], Any]


WAITING = """
SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (
    SELECT pid FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""


@contextmanager
def background() -> Iterator[Callable[[Call], Future[Any]]]:
    """Gives a function that starts a call; all have ended when the block is left."""

    def run(call: Call) -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as threads:
        yield lambda call: threads.submit(run, call)


@contextmanager
def meanwhile(*calls: Call) -> Iterator[list[Future[Any]]]:
    with background() as start:
        yield [start(call) for call in calls]


def until_somebody_waits_for_a_lock(count: int = 1) -> None:
    """Or so many do."""
    until(lambda: those_who_wait_for_a_lock() >= count)


def those_who_wait_for_a_lock() -> int:
    """Counts the connections to this database that wait for a lock. The server lists those of other databases too."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return int(cursor.fetchone()[0])
