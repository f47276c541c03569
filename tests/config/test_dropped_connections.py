"""Tests that a PostgreSQL that dropped its connections is used again at once, and no request is refused."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier

import psycopg
import pytest
from django.db import connection

from tests.racing import at_once

pytestmark = pytest.mark.django_db(transaction=True)
POOLED = 10


def answer() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 42")
        return int(cursor.fetchone()[0])


def fill_the_pool() -> None:
    """Fills the pool with as many connections as threads that hold one at the same time."""
    held = Barrier(POOLED)

    def hold() -> None:
        answer()
        held.wait(10)

    at_once([hold] * POOLED)


@pytest.fixture
def dropped() -> Iterator[psycopg.Connection]:
    """Yields a connection outside the pool, after the server has closed those in it."""
    connection.close()
    fill_the_pool()
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as beside:
        ended = beside.execute(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
        assert ended is not None
        assert ended[0] >= POOLED
        yield beside


@pytest.mark.usefixtures("dropped")
def test_requests_one_after_the_other_are_answered() -> None:
    for _ in range(POOLED):
        assert answer() == 42
        connection.close()


@pytest.mark.usefixtures("dropped")
def test_requests_at_the_same_time_are_answered() -> None:
    assert at_once([answer] * POOLED) == [42] * POOLED
