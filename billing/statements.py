"""Closes the months that have ended, an account at a time, each in a transaction of its own.

The first movement of a new month closes the months before it (`entries.sql`). What runs here closes those of accounts that have
not moved since. Running it twice, late, or after it was killed half way does no harm: what is closed stays, and the rest is due.
"""

from __future__ import annotations

import logging
import time
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from billing import alerts

log = logging.getLogger(__name__)

DUE = """
SELECT id FROM billing_account
WHERE open_month + interval '1 month' <= clock_timestamp() AT TIME ZONE 'UTC' ORDER BY id
"""
CLOSE = "SELECT billing_close_months(%s, clock_timestamp())"


def due() -> list[UUID]:
    """Returns the ids of the accounts with a month that has ended and is not closed."""
    with connection.cursor() as cursor:
        cursor.execute(DUE)
        return [account for (account,) in cursor.fetchall()]


def close(account_id: UUID) -> int:
    """Closes the months of an account that have ended, and returns how many those were."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CLOSE, [account_id])
        closed: int = cursor.fetchone()[0]
        # Grants that had expired by then.
        alerts.announce()
    return closed


def close_due(*, seconds: float = float("inf")) -> int:
    """Closes what is due, for so many seconds at most, and returns the number of statements. One failure stops no other."""
    deadline = time.monotonic() + seconds
    closed = 0
    for account in due():
        if time.monotonic() > deadline:
            break
        try:
            closed += close(account)
        except DatabaseError:
            log.exception("the month of account %s was not closed", account)
    return closed
