from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import IntegrityError
from django.utils import timezone

from billing import prices
from billing.models import Price
from billing.prices import PriceMissing
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


def test_a_source_without_a_price_is_refused_never_free() -> None:
    price("1", source="another-source")
    with pytest.raises(PriceMissing) as caught:
        prices.current(SOURCE)
    assert caught.value.source == SOURCE


def test_the_newest_price_in_force_counts() -> None:
    price("0.03", days=-1)
    price("0.02", days=-30)
    price("0.9", days=1)
    assert prices.current(SOURCE).per_result == Decimal("0.03")


def test_a_price_to_come_is_none_yet() -> None:
    price("0.9", days=0.001)
    with pytest.raises(PriceMissing):
        prices.current(SOURCE)


def test_a_price_without_a_date_is_in_force_at_once() -> None:
    Price.objects.create(source=SOURCE, per_call=Decimal(2))
    assert prices.current(SOURCE).per_call == 2


def test_a_price_of_nothing_is_a_price() -> None:
    price("0")
    assert prices.current(SOURCE).per_result == 0


def test_a_fresh_database_has_the_adapters_prices() -> None:
    call_command("migrate", verbosity=0)
    found = {
        price.source: PriceDefaults(per_call=price.per_call, per_result=price.per_result)
        for price in Price.objects.all()
    }
    assert found == {source: adapter.price for source, adapter in registry.ADAPTERS.items()}
    assert found[SOURCE] == PriceDefaults(per_result=Decimal("0.025"))


def test_what_operators_set_survives_a_migration() -> None:
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
