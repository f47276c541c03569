"""Fills a database with so many searches, of a hundredth as many tenants, in one transaction."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Tenant
from tests.seed.books import Ledger
from tests.seed.searches import Searches
from tests.seed.tenants import Tenants

SEARCHES = 1_000_000
SEARCHES_A_TENANT, LEAST_TENANTS = 100, 5
# So far back that each account has a month to close.
DAYS = 40
REFUSED = "This database has tenants, and a seed is for an empty one: remove .local, or set ANYWAY=yes to add its rows."
# Every foreign key, and how it is made. Checked row by row, ten million rows would take longer than to write them.
FOREIGN_KEYS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1, 2
"""


class NotEmpty(Exception):
    """The database has tenants. The message says what to do."""


def fill(searches: int = SEARCHES, *, anyway: bool = False) -> None:
    """Writes everything, or nothing. Raises `NotEmpty`."""
    present = Tenant.objects.count()
    if present and not anyway:
        raise NotEmpty(REFUSED)
    now, chance = timezone.now(), random.Random(present)
    began = now - timedelta(days=DAYS)
    with transaction.atomic(), unchecked():
        # Rows are made between two statements, for longer than a request may let its transaction wait.
        execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        ledger = Ledger(chance)
        tenants = Tenants(ledger, chance)
        made = Searches(tenants, ledger, chance)
        tenants.make(max(LEAST_TENANTS, searches // SEARCHES_A_TENANT), first=present, at=began - timedelta(days=1))
        made.make(searches, since=began, until=now)
        for part in (ledger, tenants, made):
            part.close()
    execute("SELECT count(billing_close_months(id, now())) FROM billing_account")
    # What autovacuum would do after a while. A test's transaction cannot.
    execute("ANALYZE" if connection.in_atomic_block else "VACUUM ANALYZE")


@contextmanager
def unchecked() -> Iterator[None]:
    """Takes the foreign keys away, and checks all rows at once when it makes them anew."""
    # What was written before waits for its checks, and a table whose rows wait cannot be altered.
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    with connection.cursor() as cursor:
        cursor.execute(FOREIGN_KEYS)
        keys = cursor.fetchall()
    for table, name, _ in keys:
        execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    yield
    for table, name, definition in keys:
        execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
    execute("SET CONSTRAINTS ALL DEFERRED")


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
