"""Holds the most that lookups can cost, at a submit and at a promotion. A test key's lookups cost nothing and hold nothing.

The rest of a hold is released where its lookup ends (`completion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from accounts.models import Mode
from billing import ledger
from billing.caps import Spender
from searches.models import Lookup, Search


def hold(search: Search, lookups: Sequence[Lookup]) -> Mapping[str, Decimal]:
    """Holds all or none, and returns the credits by the lookups' references. Raises `LimitReached`."""
    amounts = most_credits(lookups)
    demands = [_demand(search, lookup, amounts[lookup.reference]) for lookup in lookups if lookup.reference in amounts]
    ledger.hold(demands, _spender(search))
    return amounts


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
