"""Bounds how many lookups of one tenant wait at once, so that no tenant fills the tables that all claims read."""

from __future__ import annotations

from django.db import connection

from accounts.models import Tenant

# Sooner nothing much has changed.
WAIT_SECONDS = 60
COUNT = "SELECT searches_backlog(%s, %s)"


class TooManyWaitingLookups(Exception):
    """More lookups would wait than the tenant may have waiting. The message says how many, and the mend."""


def check(tenant: Tenant) -> None:
    """Counts the tenant's waiting lookups, the caller's own included. Raises `TooManyWaitingLookups`.

    Call it when all of them are written and all other rows but the picture's are locked: it holds a lock of its own until the
    end of the transaction.
    """
    most = tenant.limit("most_waiting_lookups")
    with connection.cursor() as cursor:
        cursor.execute(COUNT, (tenant.pk, most))
        [waiting] = cursor.fetchone()
    if waiting > most:
        raise TooManyWaitingLookups(
            f"At most {most:,} lookups of yours may wait at once; send this search again when some have ended."
        )
