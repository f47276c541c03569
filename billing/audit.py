"""Rebuilds every balance from the entries alone and names each that differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Sum

from billing.models import Account, Entry, Hold

Kind = Entry.Kind
POSTED = {Kind.GRANT: 1, Kind.ADJUSTMENT: 1, Kind.CHARGE: -1}
HELD = {Kind.HOLD: 1, Kind.CHARGE: -1, Kind.RELEASE: -1}


def differences() -> list[str]:
    """One sentence for each account or hold that its entries do not add up to; all from one snapshot."""
    begins_here = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if begins_here:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return [*_accounts(), *_holds()]


def _accounts() -> Iterator[str]:
    posted: dict[object, Decimal] = defaultdict(Decimal)
    held: dict[object, Decimal] = defaultdict(Decimal)
    sums = Entry.objects.order_by().values_list("account", "kind").annotate(Sum("amount"))
    for account_id, kind, amount in sums:
        posted[account_id] += POSTED.get(kind, 0) * amount
        held[account_id] += HELD.get(kind, 0) * amount
    for account in Account.objects.select_related("tenant").iterator():
        if account.posted != posted[account.pk]:
            yield f"{account}: posted is {account.posted}, the entries say {posted[account.pk]}."
        if account.held != held[account.pk]:
            yield f"{account}: held is {account.held}, the entries say {held[account.pk]}."


def _holds() -> Iterator[str]:
    said: dict[str, Decimal] = defaultdict(Decimal)
    sums = Entry.objects.exclude(reference="").order_by().values_list("reference", "kind").annotate(Sum("amount"))
    for reference, kind, amount in sums.iterator():
        said[reference] += HELD.get(kind, 0) * amount
    for hold in Hold.objects.iterator():
        entries = said.pop(hold.reference, Decimal(0))
        if hold.open + hold.unknown != entries:
            yield f"{hold}: {hold.open + hold.unknown} is held, the entries say {entries}."
    for reference, entries in said.items():
        if entries:
            yield f"{reference}: nothing is held, the entries say {entries}."
