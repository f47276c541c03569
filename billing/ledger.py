"""Moves credits; nothing else does.

A balance is never read here, decided on and written back. Each movement is one call of a function of the database, in the
caller's transaction, and each of those writes its entries by `entries.sql`. What a lookup may still cost is its `Hold`; each hold
is made by `hold.sql`, and each charge and release comes out of one by `charge_and_release.sql`, so that nothing is ever spent
above what was held.

The caller has locked the lookup's row. Then holds are locked, and accounts last, sorted by provider, each with what counts under
its limits (`caps.sql`): the tenant's month, the API key's month, and the search's budget.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Max
from uuid_utils.compat import uuid7

from accounts.models import Tenant
from billing import alerts, caps, corrections, events, grants
from billing.caps import NO_SPENDER, LimitReached, Spender
from billing.models import Account, Entry, Grant, Hold
from billing.serializers import credits_text

ZERO = Decimal(0)
# The most that one movement by hand may be: more is a slip of the finger, and would outgrow the column in the end.
MOST = Decimal(1_000_000_000)
FINEST = Decimal("0.000001")
ENTER = """
SELECT billing_enter(%s, ARRAY[%s]::uuid[], ARRAY[%s]::text[], ARRAY[%s]::numeric[], ARRAY[%s]::text[], ARRAY[%s]::text[], %s, %s)
"""
HOLD = """
SELECT outcome, limit_size, limit_used, limit_held, limit_short_by, counted_in, available, billing_alerts_due()
FROM billing_hold_credits(
    %s, %s, %s::text[], %s::numeric[], %s::text[], %s::uuid[], %s::text[], %s::text[]::jsonb[], %s, %s, %s, %s
)
"""
TALLIES = """
SELECT reference, coalesce(open, 0), coalesce((
    SELECT sum(amount) FROM billing_entry AS entry WHERE entry.reference = asked.reference AND kind = 'charge'
), 0), coalesce(unknown, 0)
FROM unnest(%s::text[]) AS asked (reference) LEFT JOIN billing_hold USING (reference)
"""
CHARGE_AND_RELEASE = "SELECT billing_charge_and_release(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
# A movement, and then whether it noted shares of limits that are to be announced: one round trip.
MOVED = "WITH moved AS MATERIALIZED ({}) SELECT moved.*, billing_alerts_due() FROM moved"
# What `hold.sql` says besides the name of a limit.
HELD, NO_ACCOUNT = "", "no_account"
# The API key, the budget with its size where it may be new, and the month where it is not the present one.
Purse = tuple[UUID | None, str, Decimal | None, date | None]
MOVE_UNKNOWN = "SELECT billing_move_unknown(%s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, kw_only=True)
class Demand:
    """The most that one lookup can cost, and what its charges count for beside the API key. A second hold keeps what the first
    one names.
    """

    reference: str
    tenant_id: UUID
    provider: str
    amount: Decimal
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Credits that a lookup has cost, and may still cost."""

    held: Decimal = ZERO
    charged: Decimal = ZERO
    unknown: Decimal = ZERO


def account_of(tenant: Tenant, provider: str) -> Account:
    """Returns the tenant's account with a provider, metered until credits are granted."""
    return Account.objects.get_or_create(tenant=tenant, provider=provider)[0]


@transaction.atomic
def grant(
    account: Account,
    amount: Decimal,
    *,
    memo: str = "",
    person: str = "",
    key: str = "",
    expires_at: datetime | None = None,
    priority: int = Grant.USUAL,
) -> None:
    """Adds credits; the account is prepaid from then on. Holds draw from the grant of the lowest priority first (`grants`)."""
    _check(amount)
    if amount <= 0:
        raise ValueError("amount: a grant must be more than 0 credits.")
    grants.check(memo=memo, expires_at=expires_at, priority=priority)
    number = _enter(account.pk, Entry.Kind.GRANT, amount, key=key or f"grant:{uuid7()}", memo=memo, person=person)
    if number is None:
        raise ValueError("account: there is none; it may have been erased.")
    # Whatever `account` says, which may have been read in a transaction that was rolled back.
    _begin_prepaid(account, granted=amount, by=f"entry:{number}", person=person)
    grants.add(account, number, amount, expires_at=expires_at, priority=priority)


@transaction.atomic
def adjust(account: Account, amount: Decimal, *, memo: str, person: str, corrects: str, key: str = "") -> None:
    """Corrects a balance by hand. A prepaid account never falls below zero.

    `memo` is the reason and `person` who decided it. `corrects` names what is wrong: an entry's number, `lookup:<id>` or
    `call:<id>`.
    """
    _check(amount)
    if not amount:
        raise ValueError("amount: must not be 0; an adjustment of nothing corrects nothing.")
    corrections.check(memo=memo, person=person)
    reference = corrections.reference(account, corrects)
    key = key or f"adjustment:{uuid7()}"
    if not _enter(account.pk, Entry.Kind.ADJUSTMENT, amount, key=key, reference=reference, memo=memo, person=person):
        raise ValueError("amount: the account would fall below zero; adjust by less.")
    if amount < 0:
        grants.take(account)


def hold(demands: Sequence[Demand], spender: Spender = NO_SPENDER) -> dict[str, Decimal | None]:
    """Holds the most that lookups can cost, all or none. Raises `LimitReached`.

    The caller rolls its transaction back then: what other accounts held before goes with it. Returns what each account has
    available after that, by provider; None of a metered one.
    """
    available: dict[str, Decimal | None] = {}
    by_account: dict[tuple[str, UUID], list[Demand]] = defaultdict(list)
    for demand in demands:
        by_account[demand.provider, demand.tenant_id].append(demand)
    for provider, tenant_id in sorted(by_account):
        own = by_account[provider, tenant_id]
        most = spender.max_credits.get(provider)
        purse = (spender.api_key_id, "" if most is None else spender.search, most, None)
        outcome, available[provider] = _hold(own, purse)
        if outcome == NO_ACCOUNT:
            # This is the tenant's first lookup with the provider.
            Account.objects.get_or_create(tenant_id=tenant_id, provider=provider)
            _, available[provider] = _hold(own, purse)
    return available


def hold_more(reference: str, amount: Decimal, *, key: str) -> bool:
    """Holds more for a lookup that must ask again; False where a limit or its account has no room, or it has no hold.

    The second hold counts in the month of the first, under the same API key and budget.
    """
    held = _locked(reference)
    if held is None:
        return False
    own = held.account
    demand = Demand(reference=reference, tenant_id=own.tenant_id, provider=own.provider, amount=amount)
    try:
        return _hold([demand], (held.spender, held.budget, None, held.month), key=key)[0] != NO_ACCOUNT
    except LimitReached:
        return False


def charge(reference: str, cost: Decimal, *, key: str) -> Decimal:
    """Charges what a call cost, and returns that.

    A provider that bills more than it was asked for is charged up to what was held: nothing above that was agreed to.
    """
    return _charge_and_release(reference, cost, released=ZERO, key=key)


def close(reference: str, cost: Decimal = ZERO, *, key: str = "") -> Decimal:
    """Charges what a lookup's last call cost, if anything, and releases the rest. What is unknown stays held until settled."""
    return _charge_and_release(reference, cost, released=None, key=key)


def set_unknown(reference: str, amount: Decimal, *, key: str = "") -> None:
    """Marks a part of a hold as perhaps billed: it stays held, and cannot be charged. `key` names the call.

    The part is at most what is open: where a provider billed a page above the request, less is left for the next.
    """
    _move_unknown(reference, amount, key=f"unknown:{key or uuid7()}")


def lock_unknown(reference: str) -> Decimal:
    """Returns the part of a lookup's hold that is unknown, which no other transaction settles before the end of this one."""
    held = _locked(reference)
    return held.unknown if held else ZERO


@transaction.atomic
def settle(
    reference: str,
    *,
    charged: Decimal,
    amount: Decimal | None = None,
    seen: int | None = None,
    key: str = "",
    memo: str = "",
    person: str = "",
) -> None:
    """Settles an unknown outcome: `charged` of `amount` was billed, the rest is released. `amount` None means all of it.

    Of two who settle one outcome the first is counted. The second is refused, also where another call became unknown meanwhile:
    `seen` is what `last_unknown` returned when the second looked.
    """
    _check(charged, name="charged")
    held = _locked(reference)
    if held is None or not held.unknown:
        raise ValueError("charged: nothing of this lookup is unknown; it may have been settled a moment ago.")
    if seen is not None and seen != last_unknown(reference):
        raise ValueError("charged: what is unknown of this lookup has changed since you looked; look again.")
    part = held.unknown if amount is None else min(amount, held.unknown)
    if not ZERO <= charged <= part:
        raise ValueError(f"charged: must be between 0 and the {credits_text(part)} credits that are unknown.")
    event = key or f"settlement:{uuid7()}"
    _move_unknown(reference, -part, key=f"settled:{event}", memo=memo, person=person)
    released = part - charged
    _charge_and_release(reference, charged, released=released, key=event, release_key=event, memo=memo, person=person)
    Hold.objects.filter(reference=reference, open=0, unknown=0).delete()
    events.settled(held.account, reference, charged=charged, released=released, unknown=held.unknown - part)


def last_unknown(reference: str) -> int:
    """Returns the number of the entry by which a part of the lookup's hold was last made unknown, or settled; 0: by none."""
    entries = Entry.objects.filter(reference=reference, kind=Entry.Kind.UNKNOWN)
    return entries.aggregate(last=Max("number"))["last"] or 0


def tallies(references: Iterable[str]) -> dict[str, Tally]:
    """Returns what each of these lookups has cost and may still cost, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(TALLIES, [list(references)])
        return {
            reference: Tally(held=held, charged=charged, unknown=unknown)
            for reference, held, charged, unknown in cursor.fetchall()
        }


def lock(references: Collection[str]) -> None:
    """Locks the holds of several lookups, in the order of their references, before the first of them is closed.

    Closing one locks its account. A hold that is locked after that could belong to an operator who settles it, and who waits for
    the account.
    """
    if len(references) > 1:
        list(Hold.objects.select_for_update().filter(reference__in=references).order_by("reference").values_list("pk"))


def _locked(reference: str) -> Hold | None:
    """Locks a lookup's hold, which is done before its account is locked."""
    return Hold.objects.select_for_update(of=("self",)).select_related("account").filter(reference=reference).first()


def _check(amount: Decimal, *, name: str = "amount") -> None:
    """Refuses amounts that the columns would round: an entry and a balance round differently."""
    # Copied, because `abs` rounds, and fails on exponents that no column has.
    if amount.is_finite() and amount.copy_abs() > MOST:
        raise ValueError(f"{name}: must be at most {MOST:,} credits; split it if it is really more.")
    if not amount.is_finite() or amount != amount.quantize(FINEST):
        raise ValueError(f"{name}: must be a number of credits with at most 6 decimals, such as 100 or 2.5.")


def _begin_prepaid(account: Account, *, granted: Decimal, by: str, person: str) -> None:
    """Makes the balance count from now on. An adjustment, on the record, covers what was used while the account was metered.

    `by` names the grant that makes the account prepaid. It pays for nothing that came before.
    """
    locked = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    if locked.kind == Account.Kind.PREPAID:
        return
    debt = locked.held - (locked.posted - granted)
    if debt > 0:
        key = f"prepaid:{account.pk}:{uuid7()}"
        memo = "Used or held before the account became prepaid."
        _enter(account.pk, Entry.Kind.ADJUSTMENT, debt, key=key, reference=by, memo=memo, person=person or "Sightline")
    Account.objects.filter(pk=account.pk).update(kind=Account.Kind.PREPAID)
    account.kind = Account.Kind.PREPAID


def _hold(demands: Sequence[Demand], purse: Purse, *, key: str = "") -> tuple[str, Decimal | None]:
    """Holds credits of one account. Returns `NO_ACCOUNT` where there is none, and nothing was held; else what a prepaid one has
    available then.

    `key` names the entry of a lookup's second hold; the first is named after the lookup.
    """
    references = [demand.reference for demand in demands]
    amounts = [demand.amount for demand in demands]
    keys = [f"hold:{key or reference}" for reference in references]
    sources = [demand.source for demand in demands]
    metadata = [json.dumps(dict(demand.metadata)) for demand in demands]
    tenant_id, provider = demands[0].tenant_id, demands[0].provider
    values = (
        tenant_id,
        provider,
        references,
        amounts,
        keys,
        [uuid7() for _ in demands],
        sources,
        metadata,
        *purse,
    )
    with connection.cursor() as cursor:
        cursor.execute(HOLD, values)
        outcome, *found, available, alerts_due = cursor.fetchone()
    if alerts_due:
        alerts.announce()
    if outcome not in (HELD, NO_ACCOUNT):
        raise LimitReached(caps.limit_of(outcome, *found, provider=provider, asked=sum(amounts, ZERO)))
    return outcome, available


def _charge_and_release(
    reference: str,
    cost: Decimal,
    *,
    released: Decimal | None,
    key: str,
    release_key: str = "",
    memo: str = "",
    person: str = "",
) -> Decimal:
    """Returns what was charged. `released` None means all that is open after the charge: the lookup has ended."""
    keys = (key, release_key or reference)
    values = (reference, cost, released, *keys, uuid7(), uuid7(), memo, person)
    charged: Decimal = _call(CHARGE_AND_RELEASE, values)
    return charged


def _move_unknown(reference: str, amount: Decimal, *, key: str, memo: str = "", person: str = "") -> None:
    """Moves so much of a hold from open to unknown, or back where the amount is negative."""
    _call(MOVE_UNKNOWN, (reference, amount, key, uuid7(), memo, person))


def _enter(
    account_id: UUID,
    kind: Entry.Kind,
    amount: Decimal,
    *,
    key: str,
    reference: str = "",
    memo: str = "",
    person: str = "",
) -> int | None:
    """Returns the number of the entry, or None where a prepaid account has no room for it."""
    number: int | None = _call(ENTER, (account_id, uuid7(), kind.value, amount, reference, key, memo, person))
    return number


def _call(function: str, values: Sequence[Any]) -> Any:
    """Calls a function that moves credits, and announces the shares of limits that the movement has reached."""
    with connection.cursor() as cursor:
        cursor.execute(MOVED.format(function), values)
        moved, alerts_due = cursor.fetchone()
    if alerts_due:
        alerts.announce()
    return moved
