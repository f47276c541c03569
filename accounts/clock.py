"""Reads the database's clock, the only one by which rows that several machines wrote can be compared."""

from __future__ import annotations

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """Returns the present time, which is later than the start of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
