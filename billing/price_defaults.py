"""Seeds the prices of sources.

Prices are rows with a date; a search keeps the one that its quote had (`searches.orders.quotes`).
"""

from __future__ import annotations

from typing import Any

from billing.models import Price
from providers import registry


class PriceMissing(Exception):
    """A source has no price in force: a search of it is refused, never free."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source


def seed(**_: Any) -> None:
    """Gives each source that never had a price its adapter's own; runs after every migrate."""
    priced = set(Price.objects.values_list("source", flat=True))
    Price.objects.bulk_create(
        (
            Price(source=source, per_call=adapter.price.per_call, per_result=adapter.price.per_result)
            for source, adapter in registry.ADAPTERS.items()
            if source not in priced
        ),
        ignore_conflicts=True,
    )
