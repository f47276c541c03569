"""Rebuilds every balance from the entries alone and names each that differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Case, F, Sum, When

from billing.models import Account, Entry, Hold
from billing.serializers import credits_text

Kind = Entry.Kind
POSTED = {Kind.GRANT: 1, Kind.ADJUSTMENT: 1, Kind.CHARGE: -1}
HELD = {Kind.HOLD: 1, Kind.CHARGE: -1, Kind.RELEASE: -1}


def differences() -> list[str]:
    """Returns a sentence for each account or hold that its entries do not add up to; all from one snapshot."""
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
            yield _sentence(f"{account}: posted", account.posted, posted[account.pk])
        if account.held != held[account.pk]:
            yield _sentence(f"{account}: held", account.held, held[account.pk])


def _holds() -> Iterator[str]:
    # The database sums them, because the sum of most lookups is 0.
    signed = Case(*(When(kind=kind, then=sign * F("amount")) for kind, sign in HELD.items()), default=Decimal(0))
    sums = Entry.objects.exclude(reference="").order_by().values("reference").annotate(sum=Sum(signed))
    sums_of = dict(sums.exclude(sum=0).values_list("reference", "sum"))
    for hold in Hold.objects.iterator():
        entries = sums_of.pop(hold.reference, Decimal(0))
        if hold.open + hold.unknown != entries:
            yield _sentence(f"{hold}: held", hold.open + hold.unknown, entries)
    for reference, entries in sums_of.items():
        yield _sentence(f"{reference}: held", Decimal(0), entries)


def _sentence(what: str, kept: Decimal, entries: Decimal) -> str:
    return f"{what} is {credits_text(kept)}, the entries say {credits_text(entries)}."
