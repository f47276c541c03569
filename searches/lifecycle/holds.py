"""Holds the most that lookups can cost, at a submit and at a promotion. A test key's lookups cost nothing and hold nothing.

The rest of a hold is released where its lookup ends (`completion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from accounts.models import Mode
from billing import ledger
from billing.caps import Spender
from searches.models import Lookup, Search


def hold(search: Search, lookups: Iterable[Lookup]) -> Mapping[str, Decimal]:
    """Holds all or none, and returns the credits by the lookups' references. Raises `LimitReached` or `InsufficientCredits`."""
    demands = [_demand(search, lookup) for lookup in lookups if lookup.lane.mode == Mode.LIVE]
    ledger.hold(demands, _spender(search))
    return {demand.reference: demand.amount for demand in demands}


def _demand(search: Search, lookup: Lookup) -> ledger.Demand:
    return ledger.Demand(
        reference=lookup.reference,
        tenant_id=lookup.tenant_id,
        provider=lookup.provider,
        amount=lookup.most_credits,
        source=lookup.source,
        api_key_id=search.api_key_id,
        metadata=search.metadata,
    )


def _spender(search: Search) -> Spender:
    max_credits = {provider: Decimal(most) for provider, most in search.max_credits.items()}
    return Spender(api_key_id=search.api_key_id, search=f"search:{search.pk}", max_credits=max_credits)
