"""Operators set, raise and lower caps; the history keeps by whom, and from what to what."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from accounts import keys
from accounts.models import Act, ApiKey, Mode, Tenant
from billing import ledger
from billing.caps import Spender
from billing.ledger import Demand
from billing.models import Account, KeyCap, TenantCap, ThresholdAlert
from tests.admin.conftest import PROVIDER
from tests.admin.test_pages import address, page_of


def errors_of(response: Any) -> list[str]:
    form = response.context["adminform"].form
    return [str(error) for errors in form.errors.values() for error in errors]


def test_a_cap_of_a_tenant_is_set_raised_and_lifted_on_record(desk: Client, alice: Tenant) -> None:
    desk.post(address(TenantCap, "add"), {"tenant": str(alice.pk), "provider": PROVIDER, "amount": "5"})
    cap: Any = TenantCap.objects.get()
    assert (cap.tenant, cap.provider, cap.amount) == (alice, PROVIDER, 5)
    assert Account.objects.get().tenant == alice
    desk.post(page_of(cap), {"amount": "7.5"})
    cap.refresh_from_db()
    assert cap.amount == Decimal("7.5")
    desk.post(address(TenantCap, "delete", cap.pk), {"post": "yes"})
    assert not TenantCap.objects.exists()
    said = [(act.name, act.kind, act.object_label, act.summary) for act in Act.objects.order_by("pk")]
    assert said[1] == (
        *("olive", "change", "Alice at modash: 7.5 credits a month"),
        "Credits a month from 5.000000 to 7.5",
    )
    assert [label for _, _, label, _ in said] == [
        f"Alice at modash: {amount} credits a month" for amount in ("5", "7.5", "7.5")
    ]


def test_a_cap_of_a_key_is_set(desk: Client, alice: Tenant) -> None:
    key = keys.issue(alice, Mode.LIVE)[0]
    desk.post(address(KeyCap, "add"), {"api_key": str(key.pk), "provider": PROVIDER, "amount": "0"})
    cap: Any = KeyCap.objects.get()
    assert (cap.api_key, cap.provider, cap.amount) == (key, PROVIDER, 0)
    assert Account.objects.get().tenant == alice


def used(tenant: Tenant, amount: int, key: ApiKey | None = None) -> None:
    """Lets a lookup use so many credits."""
    demands = [Demand(reference="lookup:1", tenant_id=tenant.pk, provider=PROVIDER, amount=Decimal(amount))]
    with transaction.atomic():
        ledger.hold(demands, Spender(api_key_id=key.pk if key else None))
        ledger.close("lookup:1", Decimal(amount), key="call")


def noted() -> set[Any]:
    return set(ThresholdAlert.objects.filter(announced=True).values_list("limit", "spender", "share", "size"))


def test_a_cap_that_is_set_or_lowered_announces_the_shares_that_are_reached(desk: Client, alice: Tenant) -> None:
    used(alice, 5)
    desk.post(address(TenantCap, "add"), {"tenant": str(alice.pk), "provider": PROVIDER, "amount": "10"})
    assert noted() == {("tenant_cap", None, 50, 10)}
    desk.post(page_of(TenantCap.objects.get()), {"amount": "6"})
    assert noted() == {("tenant_cap", None, 50, 10), ("tenant_cap", None, 80, 6)}


def test_a_cap_of_a_key_that_is_set_announces_the_shares_that_are_reached(desk: Client, alice: Tenant) -> None:
    key = keys.issue(alice, Mode.LIVE)[0]
    used(alice, 5, key)
    desk.post(address(KeyCap, "add"), {"api_key": str(key.pk), "provider": PROVIDER, "amount": "10"})
    assert noted() == {("key_cap", key.pk, 50, 10)}


def test_a_test_key_has_no_cap(desk: Client, alice: Tenant) -> None:
    key = keys.issue(alice, Mode.TEST)[0]
    response = desk.post(address(KeyCap, "add"), {"api_key": str(key.pk), "provider": PROVIDER, "amount": "1"})
    assert errors_of(response) == ["A test key's searches cost nothing, so it has no cap; choose a live key."]
    assert not KeyCap.objects.exists()


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        ("-1", "A cap must be 0 credits or more; with 0 nothing may be spent, and without a cap anything."),
        ("1.0000001", "Ensure that there are no more than 6 decimal places."),
        ("1000000000000", "Ensure that there are no more than 12 digits before the decimal point."),
        ("much", "Enter a number."),
        ("", "This field is required."),
    ],
)
def test_a_cap_that_is_no_amount_is_refused(desk: Client, alice: Tenant, amount: str, says: str) -> None:
    response = desk.post(address(TenantCap, "add"), {"tenant": str(alice.pk), "provider": PROVIDER, "amount": amount})
    assert errors_of(response) == [says]
    assert not TenantCap.objects.exists()


def test_a_second_cap_of_one_tenant_with_one_provider_is_refused(desk: Client, alice: Tenant) -> None:
    TenantCap.objects.create(tenant=alice, provider=PROVIDER, amount=1)
    response = desk.post(address(TenantCap, "add"), {"tenant": str(alice.pk), "provider": PROVIDER, "amount": "2"})
    assert errors_of(response) == ["Cap of a tenant with this Tenant and Provider already exists."]
