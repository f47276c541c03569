"""Grants: credits that are spent by priority, then expiry, then age, and that may expire.

`grants.sql` decides which grant a hold draws from, and lets them expire. What is held when a grant expires stays good for the
hold; what the hold does not need expires when it is released.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.db.models import F, Func, OuterRef, Subquery
from django.db.models.functions import Least

from accounts import clock
from billing import alerts, corrections, statements
from billing.models import Account, CreditsField, Entry, Grant

log = logging.getLogger(__name__)

# An annotation of accounts: the credits of grants that have ended though no entry says so yet.
DUE_TO_EXPIRE = {"due_to_expire": Func(F("pk"), function="billing_due_to_expire", output_field=CreditsField())}
DUE = "SELECT id FROM billing_account WHERE next_expiry <= clock_timestamp() ORDER BY id"
EXPIRE = "SELECT billing_expire_grants(%s, clock_timestamp())"
TAKE = "SELECT billing_take_from_grants(%s)"
PRIORITY = (
    f"priority: must be a number from {Grant.LOWEST} to {Grant.HIGHEST}; the grant of the lowest one is spent first."
)
# Python cannot read a time after the year 9999, which the database can keep.
LONGEST = timedelta(days=36_525)
EXPIRES_AT = "expires_at: must be a time to come with its zone, such as 2027-01-31T00:00:00Z."


def check(*, memo: str, expires_at: datetime | None, priority: int) -> None:
    """Raises `ValueError`, whose text names what is wrong with a grant."""
    corrections.check_memo(memo)
    if not Grant.LOWEST <= priority <= Grant.HIGHEST:
        raise ValueError(PRIORITY)
    if expires_at is None:
        return
    now = clock.now()
    if expires_at.tzinfo is None or expires_at <= now:
        raise ValueError(EXPIRES_AT)
    if expires_at > now + LONGEST:
        raise ValueError("expires_at: must be within 100 years; leave it out for credits that never expire.")


def add(account: Account, number: int, amount: Decimal, *, expires_at: datetime | None, priority: int) -> None:
    """Keeps a grant whose entry has this number. The entry's transaction has locked the account."""
    Grant.objects.create(
        account=account, number=number, amount=amount, available=amount, expires_at=expires_at, priority=priority
    )
    if expires_at is not None:
        Account.objects.filter(pk=account.pk).update(next_expiry=Least(F("next_expiry"), expires_at))


def take(account: Account) -> None:
    """Takes from the grants what an adjustment took from the account beyond what belongs to no grant."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [account.pk])


def expire(account_id: UUID) -> int:
    """Enters the expiry of an account's grants that are due, and returns how many those were. Announces the shares of the last
    grant that it reaches.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        statements.close(account_id)
        cursor.execute(EXPIRE, [account_id])
        ended: int = cursor.fetchone()[0]
        alerts.announce()
    return ended


def expire_due(*, seconds: float = float("inf")) -> int:
    """Lets grants expire, an account in a transaction, for so many seconds at most. One failure stops no other."""
    deadline = time.monotonic() + seconds
    with connection.cursor() as cursor:
        cursor.execute(DUE)
        accounts = [account for (account,) in cursor.fetchall()]
    ended = 0
    for account in accounts:
        if time.monotonic() > deadline:
            break
        try:
            ended += expire(account)
        except DatabaseError:
            log.exception("the grants of account %s did not expire", account)
    return ended


def available(tenant_id: UUID, providers: Iterable[str]) -> dict[str, Decimal]:
    """Returns what a tenant's prepaid accounts with these providers have available."""
    prepaid = Account.objects.filter(tenant=tenant_id, provider__in=providers, kind=Account.Kind.PREPAID)
    return {account.provider: account.posted - account.held - account.due_to_expire for account in attach(prepaid)}


def attach(accounts: Iterable[Account]) -> list[Account]:
    """Attaches to each account its grants that may still be drawn, in the order in which they are spent, with their memos.

    Those whose expiry is due but not entered yet are left out, and their credits are no longer available.
    """
    listed: list[Any] = list(accounts)
    for account in listed:
        account.live_grants = []
    now = clock.now()
    by_id = {account.pk: account for account in listed}
    memos = Entry.objects.filter(account=OuterRef("account"), number=OuterRef("number")).values("memo")
    found = Grant.objects.filter(account__in=by_id, available__gt=0).annotate(memo=Subquery(memos))
    for grant in found.order_by("priority", "expires_at", "number"):
        own = by_id[grant.account_id]
        if grant.expires_at is not None and grant.expires_at <= now:
            own.due_to_expire += grant.available
        else:
            own.live_grants.append(grant)
    return listed
