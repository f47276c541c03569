"""Limits how many lookups of one tenant wait at once, so that no tenant fills the tables that every claim reads."""

from __future__ import annotations

from django.db import connection

from accounts.models import Tenant

# A tenant's backlog hardly changes in less time.
WAIT_SECONDS = 60
COUNT = "SELECT searches_backlog(%s, %s, %s)"


class TooManyWaitingLookups(Exception):
    """The tenant would have more waiting lookups than it may. The message names the limit and a hint."""


def check(tenant: Tenant) -> None:
    """Counts the tenant's waiting lookups, the caller's own included. Raises `TooManyWaitingLookups`.

    Must be called when all lookups are written and all other rows are locked, but the number of stored searches and the picture,
    for it holds a lock of its own until the end of the transaction.
    """
    _check(tenant, locking=True)


def check_for(tenant: Tenant, *, more: int) -> None:
    """Checks whether so many more lookups may wait, without a lock. Raises `TooManyWaitingLookups`."""
    _check(tenant, more=more, locking=False)


def _check(tenant: Tenant, *, more: int = 0, locking: bool) -> None:
    most = tenant.limit("most_waiting_lookups")
    with connection.cursor() as cursor:
        cursor.execute(COUNT, (tenant.pk, most, locking))
        [waiting] = cursor.fetchone()
    if waiting + more > most:
        raise TooManyWaitingLookups(
            f"At most {most:,} lookups of yours may wait at once; send this search again when some have ended."
        )
