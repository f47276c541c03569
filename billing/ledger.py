"""Every movement of credits, and nothing else moves any.

A balance is never read, decided on and written back: each movement is one conditional update, one look at the row count
and one entry, in the caller's transaction. What a lookup may still cost lives in its `Hold` (`set_aside.sql`); a charge can
only come out of one (`spend.sql`), so nothing is ever spent above what was held. Whoever calls this holds the lookup's row;
accounts are locked last, sorted by provider.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Least
from uuid_utils.compat import uuid7

from accounts.models import Tenant
from billing import events
from billing.models import Account, Entry, Hold

ZERO = Decimal(0)
# In one movement by hand: what is more is a slip of the finger, and would outgrow the column in the end.
MOST = Decimal(1_000_000_000)
FINEST = Decimal("0.000001")
SET_ASIDE = "SELECT billing_set_aside(%s, %s, %s, %s::text[], %s::numeric[], %s::uuid[])"
TALLIES = """
SELECT reference, coalesce(open, 0), coalesce((
    SELECT sum(amount) FROM billing_entry AS entry WHERE entry.reference = asked.reference AND kind = 'charge'
), 0), coalesce(unknown, 0)
FROM unnest(%s::text[]) AS asked (reference) LEFT JOIN billing_hold USING (reference)
"""
SPEND = "SELECT billing_spend(%s, %s, %s, %s, %s, %s)"


class InsufficientCredits(Exception):
    """A prepaid account has less than what a search could cost."""

    def __init__(self, provider: str, needed: Decimal, available: Decimal) -> None:
        super().__init__(provider)
        self.provider = provider
        self.needed = needed
        self.available = available


@dataclass(frozen=True, kw_only=True)
class Demand:
    """The most that one lookup can cost."""

    reference: str
    tenant_id: UUID
    provider: str
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a lookup has cost and may still cost."""

    held: Decimal = ZERO
    charged: Decimal = ZERO
    unknown: Decimal = ZERO


def account_of(tenant: Tenant, provider: str) -> Account:
    """The tenant's account with a provider; metered until credits are granted."""
    return Account.objects.get_or_create(tenant=tenant, provider=provider)[0]


@transaction.atomic
def grant(account: Account, amount: Decimal, *, note: str = "", key: str = "") -> None:
    """Adds credits; the account is prepaid from then on."""
    _check(amount)
    if amount <= 0:
        raise ValueError("amount: a grant must be more than 0 credits.")
    _enter(account.pk, Entry.Kind.GRANT, amount, key=key or f"grant:{uuid7()}", note=note)
    if account.kind == Account.Kind.METERED:
        _begin_prepaid(account)
    Account.objects.filter(pk=account.pk).update(posted=F("posted") + amount)


@transaction.atomic
def adjust(account: Account, amount: Decimal, *, note: str, key: str = "") -> None:
    """Corrects a balance by hand; `note` says why. A prepaid account never falls below zero."""
    _check(amount)
    fits = Q(kind=Account.Kind.METERED) | Q(posted__gte=F("held") - amount)
    if not Account.objects.filter(fits, pk=account.pk).update(posted=F("posted") + amount):
        raise ValueError("amount: the account would fall below zero; adjust by less.")
    _enter(account.pk, Entry.Kind.ADJUSTMENT, amount, key=key or f"adjustment:{uuid7()}", note=note)


def hold(demands: Sequence[Demand]) -> None:
    """Sets aside the most that lookups can cost, all or none. Raises `InsufficientCredits`."""
    by_account: dict[tuple[str, UUID], list[Demand]] = defaultdict(list)
    for demand in demands:
        by_account[demand.provider, demand.tenant_id].append(demand)
    for provider, tenant_id in sorted(by_account):
        _set_aside(provider, tenant_id, by_account[provider, tenant_id])


def hold_more(reference: str, amount: Decimal, *, key: str) -> bool:
    """Sets aside more for a lookup that must ask again; False where the account has no room for it."""
    held = Hold.objects.select_for_update().filter(reference=reference).first()
    if held is None or not _reserve(held.account_id, amount):
        return False
    Hold.objects.filter(reference=reference).update(open=F("open") + amount)
    _enter(held.account_id, Entry.Kind.HOLD, amount, key=f"hold:{key}", reference=reference)
    return True


def charge(reference: str, amount: Decimal, *, key: str) -> Decimal:
    """Books what a call cost and returns it.

    A provider that bills more than it was asked for is charged up to what was held: nothing above that was agreed to.
    """
    return _spend(reference, amount, key=key, is_last=False)


def release(reference: str) -> None:
    """Gives back what a lookup did not spend. What is unknown stays held until it is settled."""
    _spend(reference, ZERO, key="", is_last=True)


def close(reference: str, amount: Decimal, *, key: str) -> Decimal:
    """Books what a lookup's last call cost, and gives back the rest: `charge` and `release` in one movement."""
    return _spend(reference, amount, key=key, is_last=True)


def set_unknown(reference: str, amount: Decimal) -> None:
    """Marks a part of a hold as perhaps billed: it stays held, and cannot be spent.

    At most what is open: a provider that billed a page above what was asked for has left less for the next.
    """
    part = Least(F("open"), amount)
    Hold.objects.filter(reference=reference).update(open=F("open") - part, unknown=F("unknown") + part)


@transaction.atomic
def settle(reference: str, *, charged: Decimal, amount: Decimal | None = None, key: str = "") -> None:
    """Ends an unknown outcome: of `amount` (all of it where None) `charged` was billed, the rest is released."""
    _check(charged, name="charged")
    held = Hold.objects.select_for_update().filter(reference=reference).first()
    unknown = held.unknown if held else ZERO
    part = unknown if amount is None else min(amount, unknown)
    if not ZERO <= charged <= part:
        raise ValueError(f"charged: must be between 0 and the {part} credits that are unknown.")
    if held is None or not part:
        return
    event = key or f"settlement:{uuid7()}"
    Hold.objects.filter(reference=reference).update(unknown=F("unknown") - part)
    if charged:
        _book(held.account_id, charged, key=event, reference=reference)
    if part > charged:
        _free(held.account_id, part - charged, key=event, reference=reference)
    _forget_if_empty(reference)
    events.settled(held.account, reference, charged=charged, released=part - charged, unknown=unknown - part)


def tallies(references: Iterable[str]) -> dict[str, Tally]:
    """What each of these lookups has cost and may still cost. One query, however many they are."""
    with connection.cursor() as cursor:
        cursor.execute(TALLIES, [list(references)])
        return {
            reference: Tally(held=held, charged=charged, unknown=unknown)
            for reference, held, charged, unknown in cursor.fetchall()
        }


def _check(amount: Decimal, *, name: str = "amount") -> None:
    """That the columns keep it as it is: what they round, they round differently in an entry and in a balance."""
    if amount.is_finite() and abs(amount) > MOST:
        raise ValueError(f"{name}: must be at most {MOST:,} credits; split it if it is really more.")
    if not amount.is_finite() or amount != amount.quantize(FINEST):
        raise ValueError(f"{name}: must be a number of credits with at most 6 decimals, such as 100 or 2.5.")


def _begin_prepaid(account: Account) -> None:
    """From here on the balance counts: what was used while it was metered is settled by an adjustment, on the record."""
    locked = Account.objects.select_for_update().get(pk=account.pk)
    if locked.kind == Account.Kind.PREPAID:
        return
    debt = locked.held - locked.posted
    if debt > 0:
        note = "Used or held before the account became prepaid."
        _enter(account.pk, Entry.Kind.ADJUSTMENT, debt, key=f"prepaid:{account.pk}:{uuid7()}", note=note)
        Account.objects.filter(pk=account.pk).update(posted=F("posted") + debt)
    Account.objects.filter(pk=account.pk).update(kind=Account.Kind.PREPAID)
    account.kind = Account.Kind.PREPAID


def _set_aside(provider: str, tenant_id: UUID, demands: Sequence[Demand]) -> None:
    """For all of these, which are of one account."""
    total = sum((demand.amount for demand in demands), ZERO)
    references, amounts = [demand.reference for demand in demands], [demand.amount for demand in demands]
    values = (tenant_id, provider, total, references, amounts, [uuid7() for _ in demands])
    if _answer(SET_ASIDE, values):
        return
    # It has no room, or is the tenant's first with this provider.
    account = Account.objects.get_or_create(tenant_id=tenant_id, provider=provider)[0]
    if not _answer(SET_ASIDE, values):
        account.refresh_from_db()
        raise InsufficientCredits(provider, total, account.available or ZERO)


def _reserve(account_id: UUID, amount: Decimal) -> bool:
    fits = Q(kind=Account.Kind.METERED) | Q(posted__gte=F("held") + amount)
    return bool(Account.objects.filter(fits, pk=account_id).update(held=F("held") + amount))


def _spend(reference: str, amount: Decimal, *, key: str, is_last: bool) -> Decimal:
    charged: Decimal = _answer(SPEND, (reference, amount, key, is_last, uuid7(), uuid7()))
    return charged


def _answer(function: str, values: Sequence[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(function, values)
        return cursor.fetchone()[0]


def _book(account_id: UUID, amount: Decimal, *, key: str, reference: str) -> None:
    _enter(account_id, Entry.Kind.CHARGE, amount, key=f"charge:{key}", reference=reference)
    Account.objects.filter(pk=account_id).update(held=F("held") - amount, posted=F("posted") - amount)


def _free(account_id: UUID, amount: Decimal, *, key: str, reference: str) -> None:
    _enter(account_id, Entry.Kind.RELEASE, amount, key=f"release:{key}", reference=reference)
    Account.objects.filter(pk=account_id).update(held=F("held") - amount)


def _forget_if_empty(reference: str) -> None:
    Hold.objects.filter(reference=reference, open=0, unknown=0).delete()


def _enter(
    account_id: UUID, kind: Entry.Kind, amount: Decimal, *, key: str, reference: str = "", note: str = ""
) -> None:
    """The entry's unique key makes a movement that is repeated fail, and take its transaction with it."""
    Entry.objects.create(account_id=account_id, kind=kind, amount=amount, key=key, reference=reference, note=note)
