"""A quote has the price, the policy and the credential that are in force."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from billing.models import Price
from providers.keyring import credentials
from searches.orders import quotes

pytestmark = pytest.mark.django_db
SOURCE = "tiktok-creators"


@pytest.fixture
def live_key(alice: Tenant) -> ApiKey:
    Price.objects.all().delete()
    return keys.issue(alice, Mode.LIVE)[0]


def price(per_result: str, *, days: float = 0, source: str = SOURCE) -> Price:
    """Writes a price that is valid from so many days from now on."""
    valid_from = timezone.now() + timedelta(days=days)
    return Price.objects.create(source=source, per_result=Decimal(per_result), valid_from=valid_from)


def quoted(api_key: ApiKey) -> Price | None:
    [quote] = quotes.of(api_key, [(SOURCE, None)])
    return quote.price


def test_the_newest_price_in_force_counts(live_key: ApiKey) -> None:
    price("0.02", days=-30)
    present = price("0.03", days=-1)
    price("0.9", days=1)
    assert quoted(live_key) == present


def test_a_future_price_and_another_sources_price_are_not_in_force(live_key: ApiKey) -> None:
    price("0.9", days=0.001)
    price("1", source="another-source")
    assert quoted(live_key) is None


def test_a_price_without_a_date_is_in_force_at_once(live_key: ApiKey) -> None:
    assert quoted(live_key) is None
    present = Price.objects.create(source=SOURCE, per_call=Decimal(2))
    assert quoted(live_key) == present


def test_a_price_of_0_is_a_price(live_key: ApiKey) -> None:
    assert quoted(live_key) is None
    free = price("0")
    assert quoted(live_key) == free


def test_the_default_credential_is_the_one_of_the_keyring(live_key: ApiKey, alice: Tenant, bob: Tenant) -> None:
    credentials.store(bob, "modash", "a-key-of-bobs")
    for name in ("first", "second"):
        credentials.store(alice, "modash", f"the-{name}-key", label=name)
    for chosen in alice.credentials.all():
        credentials.change(chosen, is_default=True)
        [quote] = quotes.of(live_key, [(SOURCE, None)])
        assert quote.credential == credentials.default_of(alice.pk, "modash") == chosen


def test_a_provider_without_a_policy_gets_the_documented_one(live_key: ApiKey) -> None:
    [live] = quotes.of(live_key, [(SOURCE, None)])
    assert (live.policy.provider, live.credential) == ("modash", None)
