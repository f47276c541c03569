"""Holds the most that lookups can cost, at a submit and at a promotion. A test key's lookups cost nothing and hold nothing.

The rest of a hold is released where its lookup ends (`completion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from accounts.models import Mode
from billing import grants, ledger
from billing.caps import Spender
from searches.models import Lookup, Search


@dataclass(frozen=True, kw_only=True)
class Held:
    """The credits held, by the lookups' references. `available`: what the accounts have left, by provider; None: metered."""

    amounts: Mapping[str, Decimal]
    available: Mapping[str, Decimal | None]


def hold(search: Search, lookups: Sequence[Lookup]) -> Held:
    """Holds all or none. Raises `LimitReached`."""
    amounts = most_credits(lookups)
    demands = [_demand(search, lookup, amounts[lookup.reference]) for lookup in lookups if lookup.reference in amounts]
    return Held(amounts=amounts, available=ledger.hold(demands, _spender(search)))


def available(search: Search, lookups: Iterable[Lookup], held: Held) -> dict[str, Decimal]:
    """Returns what the prepaid accounts of these lookups' providers have available; none for a test key.

    The hold told most of them. The accounts of repeats, which hold nothing, are read.
    """
    if search.mode != Mode.LIVE:
        return {}
    found = {provider: amount for provider, amount in held.available.items() if amount is not None}
    if unread := {lookup.provider for lookup in lookups} - held.available.keys():
        found |= grants.available(search.tenant_id, unread)
    return found


def most_credits(lookups: Iterable[Lookup]) -> dict[str, Decimal]:
    """Returns the most that lookups that ask their provider can cost, by their references. Those of a test key are left out."""
    return {lookup.reference: lookup.most_credits for lookup in lookups if lookup.lane.mode == Mode.LIVE}


def _demand(search: Search, lookup: Lookup, amount: Decimal) -> ledger.Demand:
    return ledger.Demand(
        reference=lookup.reference,
        tenant_id=lookup.tenant_id,
        provider=lookup.provider,
        amount=amount,
        source=lookup.source,
        metadata=search.metadata,
    )


def _spender(search: Search) -> Spender:
    max_credits = {provider: Decimal(most) for provider, most in search.max_credits.items()}
    return Spender(api_key_id=search.api_key_id, search=f"search:{search.pk}", max_credits=max_credits)
