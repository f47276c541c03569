"""Charges are added up by provider and day, over all tenants, and never over providers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from accounts import clock
from accounts.models import RollupProgress, Tenant
from billing import credit_days, ledger
from billing.models import CreditDay, Usage


def used(tenant: Tenant, provider: str, days_ago: int, charged: str, api_key: str = "") -> None:
    Usage.objects.create(
        account=ledger.account_of(tenant, provider),
        day=(clock.now() - timedelta(days=days_ago)).date(),
        source="a",
        api_key=api_key,
        charged=Decimal(charged),
        charges=2,
    )


def count() -> list[tuple[int, str, Decimal, int]]:
    """Adds up, and returns the age in days, the provider and the sums of each row."""
    credit_days.roll_up(seconds=60)
    today = clock.now().date()
    rows = CreditDay.objects.order_by("-day", "provider")
    return [((today - row.day).days, row.provider, row.charged, row.charges) for row in rows]


def test_charges_are_added_up_by_provider_and_day(alice: Tenant, bob: Tenant) -> None:
    for tenant in (alice, bob):
        used(tenant, "modash", 0, "1.5")
        used(tenant, "keyapi", 0, "3")
        used(tenant, "modash", 20, "2", api_key="k")
    expected = [(0, "keyapi", Decimal(6), 4), (0, "modash", Decimal(3), 4), (20, "modash", Decimal(4), 4)]
    assert count() == expected
    assert count() == expected


def test_a_day_that_was_missed_is_added_up_later(alice: Tenant) -> None:
    count()
    used(alice, "modash", 5, "1")
    assert count() == []
    RollupProgress.objects.update(until=clock.now() - timedelta(days=6))
    assert count() == [(5, "modash", Decimal(1), 2)]


def test_yesterday_and_today_are_added_up_anew(alice: Tenant) -> None:
    for days in (0, 1):
        used(alice, "modash", days, "1")
    count()
    Usage.objects.update(charged=Decimal(7))
    assert [charged for *_, charged, _ in count()] == [Decimal(7), Decimal(7)]
