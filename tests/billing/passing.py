"""Lets grants end by what the database is told of the time: no test waits for an expiry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import F, Min

from billing.models import Account, Grant


def expires_in(*, days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def has_ended(number: int, *, of: Account | None = None) -> None:
    """Puts the expiry of a grant into the past; no entry says so yet."""
    found = Grant.objects.filter(number=number)
    one = (found if of is None else found.filter(account=of)).get()
    # As long before as it was to come, so that two grants keep their order.
    ended = (one.expires_at or datetime.now(UTC)) - timedelta(days=3650)
    Grant.objects.filter(pk=one.pk).update(expires_at=ended)
    Account.objects.filter(pk=one.account_id).update(next_expiry=ended)


def ends(number: int, moment: datetime) -> None:
    """Lets a grant expire at a moment."""
    Grant.objects.filter(number=number).update(expires_at=moment)
    Account.objects.update(next_expiry=Grant.objects.aggregate(first=Min("expires_at"))["first"])


def days_pass(days: int) -> None:
    """Moves the moments at which all grants expire so many days back, as if as much time had passed."""
    Grant.objects.update(expires_at=F("expires_at") - timedelta(days=days))
    Account.objects.update(next_expiry=F("next_expiry") - timedelta(days=days))


def due() -> int:
    """Returns how many grants have ended though no entry says so yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_grant WHERE expires_at <= clock_timestamp() AND NOT has_expired")
        found: int = cursor.fetchone()[0]
    return found
