from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import IntegrityError
from django.utils import timezone

from billing.models import Price
from providers import registry
from providers.contract import PriceDefaults

pytestmark = pytest.mark.django_db
SOURCE = "tiktok-creators"


@pytest.fixture(autouse=True)
def _no_prices(db: None) -> None:
    Price.objects.all().delete()


def price(per_result: str, *, days: float = 0, source: str = SOURCE) -> Price:
    """Valid from so many days from now on."""
    valid_from = timezone.now() + timedelta(days=days)
    return Price.objects.create(source=source, per_result=Decimal(per_result), valid_from=valid_from)


def test_a_fresh_database_has_the_adapters_prices() -> None:
    call_command("migrate", verbosity=0)
    found = {
        price.source: PriceDefaults(per_call=price.per_call, per_result=price.per_result)
        for price in Price.objects.all()
    }
    assert found == {source: adapter.price for source, adapter in registry.ADAPTERS.items()}
    assert found[SOURCE] == PriceDefaults(per_result=Decimal("0.025"))


def test_prices_of_operators_survive_a_migration() -> None:
    mine, to_come = price("0.5", days=-1), price("0.7", days=1)
    call_command("migrate", verbosity=0)
    assert set(Price.objects.filter(source=SOURCE)) == {mine, to_come}


def test_prices_are_never_negative() -> None:
    with pytest.raises(IntegrityError, match="price_never_negative"):
        price("-0.01")


def test_a_source_has_one_price_at_a_time() -> None:
    first = price("1")
    with pytest.raises(IntegrityError, match="one_price_per_source_and_moment"):
        Price.objects.create(source=SOURCE, valid_from=first.valid_from)
