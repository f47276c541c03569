"""Holds the most that lookups can cost, at a submit and at a promotion. A test key's lookups cost nothing and hold nothing.

The rest of a hold is released where its lookup ends (`completion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from accounts.models import Mode
from billing import ledger
from searches.models import Lookup


def hold(lookups: Iterable[Lookup]) -> Mapping[str, Decimal]:
    """Holds all or none, and returns the credits by the lookups' references. Raises `InsufficientCredits`."""
    demands = [_demand(lookup) for lookup in lookups if lookup.lane.mode == Mode.LIVE]
    ledger.hold(demands)
    return {demand.reference: demand.amount for demand in demands}


def _demand(lookup: Lookup) -> ledger.Demand:
    return ledger.Demand(
        reference=lookup.reference,
        tenant_id=lookup.tenant_id,
        provider=lookup.provider,
        amount=lookup.most_credits,
        source=lookup.source,
        api_key_id=lookup.search.api_key_id,
        metadata=lookup.search.metadata,
    )
