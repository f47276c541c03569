"""Lists a tenant's entries, account by account and each newest first, filtered or not.

Each account is a query of its own that begins at a number, so that a late page costs no more than the first. One query over all
accounts would read from the start of an account again for each page, or sort all entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, Subquery

from accounts.web import streaming
from billing.models import Account, Entry

KEYS = ("account_id", "number")
ENTRIES_AT_ONCE = 1000
# Entries are numbered in the order of their times, unless the server's clock was set back. More than this is not expected.
CLOCK_STEP = timedelta(hours=1)


def page(accounts: QuerySet[Account], wanted: Mapping[str, Any], after: Sequence[str] | None, most: int) -> list[Entry]:
    """Returns the entries after the one with these keys, at most so many."""
    found: list[Entry] = []
    last, number = (UUID(after[0]), int(after[1])) if after else (None, None)
    for account in accounts.order_by("-pk"):
        if last is not None and account.pk > last:
            continue
        entries = _of(account, wanted)
        if account.pk == last:
            entries = entries.filter(number__lt=number)
        found += entries[: most - len(found)]
        if len(found) == most:
            break
    return found


def batches(accounts: QuerySet[Account], wanted: Mapping[str, Any]) -> Iterator[list[Entry]]:
    """Yields all entries, some at a time."""
    return streaming.batches(partial(page, accounts, wanted), keys=KEYS, size=ENTRIES_AT_ONCE)


def _of(account: Account, wanted: Mapping[str, Any]) -> QuerySet[Entry]:
    entries = Entry.objects.filter(account=account).select_related("account").order_by("-number")
    if "kind" in wanted:
        entries = entries.filter(kind=wanted["kind"])
    if "lookup" in wanted:
        entries = entries.filter(reference=f"lookup:{wanted['lookup']}")
    if "created_after" in wanted:
        entries = _after(entries, account, wanted["created_after"])
    if "created_before" in wanted:
        entries = _before(entries, account, wanted["created_before"])
    return entries


def _after(entries: QuerySet[Entry], account: Account, moment: datetime) -> QuerySet[Entry]:
    """Bounds the entries by the number that the time leads to as well, so that those before are not read."""
    first = Entry.objects.filter(account=account, created_at__gt=_shifted(moment, -CLOCK_STEP)).order_by("created_at")
    return entries.filter(created_at__gt=moment, number__gte=Subquery(first.values("number")[:1]))


def _before(entries: QuerySet[Entry], account: Account, moment: datetime) -> QuerySet[Entry]:
    last = Entry.objects.filter(account=account, created_at__lt=_shifted(moment, CLOCK_STEP)).order_by("-created_at")
    return entries.filter(created_at__lt=moment, number__lte=Subquery(last.values("number")[:1]))


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Returns the time so much later, or the moment itself at the end of all times."""
    try:
        return moment + by
    except OverflowError:
        return moment
