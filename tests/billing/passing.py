"""Lets grants end by what the database is told of the time: no test waits for an expiry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
