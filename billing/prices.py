"""What a source costs now. Prices are rows with a date; a search keeps the one it was submitted under."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now

from billing.models import Price
from providers import registry


class PriceMissing(Exception):
    """No price: refused, never free."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source


def current(source: str) -> Price:
    """Raises `PriceMissing`."""
    price = Price.objects.filter(source=source, valid_from__lte=Now()).order_by("-valid_from").first()
    if price is None:
        raise PriceMissing(source)
    return price


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
