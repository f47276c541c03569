"""A share of a cap or of a grant is announced by the movement that reaches it, each once a period."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from uuid_utils.compat import uuid7

from accounts import keys
from accounts.models import ApiKey, Endpoint, Event, Mode, Tenant
from accounts.webhooks import endpoints
from billing import alerts, ledger
from billing.models import Account, TenantCap, ThresholdAlert
from tests.billing.test_caps import cap_key, cap_tenant, hold, it_is
from tests.billing.test_ledger import in_one
from tests.racing import at_once

NOVEMBER, DECEMBER = date(2026, 11, 1), date(2026, 12, 1)
REACHED = "credits.threshold_reached"


@pytest.fixture
def november(db: None) -> None:
    it_is(NOVEMBER)


@pytest.fixture(autouse=True)
def endpoint(alice: Tenant) -> Endpoint:
    return endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks", events=[REACHED])[0]


@pytest.fixture
def key(alice: Tenant) -> ApiKey:
    return keys.issue(alice, Mode.LIVE)[0]


def charge(amount: Decimal | int | str, reference: str = "lookup:1") -> None:
    in_one(ledger.charge, reference, Decimal(amount), key=str(uuid7()))


def change_cap(tenant: Tenant, amount: int | str) -> None:
    """Changes the cap as the admin does."""
    with transaction.atomic():
        cap_tenant(tenant, amount)
        alerts.cap_changed(ledger.account_of(tenant, "modash"))


def told(tenant: Tenant) -> list[Any]:
    """Returns the data of the tenant's events, in their order."""
    return [
        json.loads(event.body)["data"] for event in Event.objects.filter(tenant=tenant, type=REACHED).order_by("pk")
    ]


def shares(tenant: Tenant, limit: str = "tenant_cap") -> list[int]:
    """Returns the shares of such limits that were announced. They are those that the table has."""
    announced = [data["share"] for data in told(tenant) if data["limit"] == limit]
    kept = ThresholdAlert.objects.filter(account__tenant=tenant, limit=limit, announced=True)
    assert sorted(announced) == sorted(kept.values_list("share", flat=True))
    assert not ThresholdAlert.objects.filter(announced=False).exists()
    return announced


# The shares


def test_the_charge_that_reaches_a_share_announces_it(alice: Tenant) -> None:
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    said = []
    for amount in ("4.999999", "0.000001", "2.999999", "0.000001", "1.999999", "0.000001"):
        charge(amount)
        said.append(shares(alice))
    assert said == [[], [50], [50], [50, 80], [50, 80], [50, 80, 100]]


def test_a_charge_that_reaches_several_shares_announces_each_the_smallest_first(alice: Tenant) -> None:
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    charge(10)
    assert shares(alice) == [50, 80, 100]


def test_an_alert_says_what_is_used_held_and_left_and_when_the_cap_renews(alice: Tenant, november: None) -> None:
    cap_tenant(alice, 10)
    hold(alice, 8, "lookup:1")
    charge("5.5")
    assert told(alice) == [
        {
            "provider": "modash",
            "limit": "tenant_cap",
            "api_key_id": None,
            "share": 50,
            "size": "10",
            "used": "5.5",
            "held": "2.5",
            "left": "2",
            "period_start": "2026-11-01T00:00:00Z",
            "renews_at": "2026-12-01T00:00:00Z",
        }
    ]


def test_what_is_held_reaches_no_share(alice: Tenant) -> None:
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    in_one(ledger.close, "lookup:1")
    assert shares(alice) == []


def test_the_end_of_a_lookup_reaches_a_share(alice: Tenant) -> None:
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    in_one(ledger.close, "lookup:1", Decimal(8), key="call")
    assert [(data["share"], data["held"], data["left"]) for data in told(alice)] == [(50, "0", "2"), (80, "0", "2")]


def test_an_unknown_outcome_reaches_a_share_when_it_is_settled(alice: Tenant) -> None:
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    in_one(ledger.set_unknown, "lookup:1", Decimal(6))
    assert shares(alice) == []
    ledger.settle("lookup:1", charged=Decimal(5))
    assert shares(alice) == [50]


def test_a_cap_of_nothing_and_a_charge_of_nothing_announce_nothing(alice: Tenant) -> None:
    hold(alice, 5, "lookup:1")
    change_cap(alice, 0)
    charge(1)
    change_cap(alice, 0)
    change_cap(alice, 2)
    charge(0)
    assert shares(alice) == [50]


# Of whom


def test_a_keys_cap_is_announced_apart_from_the_tenants(alice: Tenant, key: ApiKey) -> None:
    other = keys.issue(alice, Mode.LIVE)[0]
    cap_tenant(alice, 20)
    for each in (key, other):
        cap_key(each, 8)
    hold(alice, 8, "lookup:1", key=key)
    hold(alice, 8, "lookup:2", key=other)
    charge(7)
    charge(3, "lookup:2")
    found = [(data["limit"], data["api_key_id"], data["share"], data["size"], data["used"]) for data in told(alice)]
    assert found == [
        ("key_cap", str(key.pk), 50, "8", "7"),
        ("key_cap", str(key.pk), 80, "8", "7"),
        ("tenant_cap", None, 50, "20", "10"),
    ]


def test_providers_have_alerts_of_their_own(alice: Tenant) -> None:
    cap_tenant(alice, 10)
    cap_tenant(alice, 4, "memories")
    hold(alice, 4, "lookup:1")
    hold(alice, 4, "lookup:2", provider="memories")
    charge(4)
    charge(2, "lookup:2")
    assert [(data["provider"], data["share"]) for data in told(alice)] == [("memories", 50)]


def test_another_tenant_hears_nothing(alice: Tenant, bob: Tenant) -> None:
    endpoints.create(bob, Mode.LIVE, url="https://bob.example/hooks")
    for tenant in (alice, bob):
        cap_tenant(tenant, 10)
    hold(alice, 10, "lookup:1")
    charge(10)
    assert (shares(alice), shares(bob)) == ([50, 80, 100], [])


def test_an_endpoint_of_test_keys_hears_nothing(alice: Tenant, endpoint: Endpoint) -> None:
    endpoints.remove(endpoint)
    endpoints.create(alice, Mode.TEST, url="https://alice.example/tests")
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    charge(10)
    assert told(alice) == []


def test_an_endpoint_that_is_made_later_hears_of_later_shares(alice: Tenant, endpoint: Endpoint) -> None:
    endpoints.remove(endpoint)
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    charge(5)
    endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks")
    charge(3)
    assert [data["share"] for data in told(alice)] == [80]
    assert set(ThresholdAlert.objects.values_list("share", "announced")) == {(50, True), (80, True)}


# Once a period


def test_a_new_month_begins_anew(alice: Tenant, november: None) -> None:
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    charge(5)
    it_is(DECEMBER)
    hold(alice, 10, "lookup:2")
    charge(5, "lookup:2")
    charge(3)
    starts = [(data["share"], data["period_start"][:10], data["renews_at"][:10]) for data in told(alice)]
    assert starts == [
        (50, "2026-11-01", "2026-12-01"),
        (50, "2026-12-01", "2027-01-01"),
        (80, "2026-11-01", "2026-12-01"),
    ]


def test_a_share_that_a_raised_cap_takes_back_is_not_announced_anew(alice: Tenant) -> None:
    change_cap(alice, 10)
    hold(alice, 10, "lookup:1")
    charge(5)
    change_cap(alice, 20)
    hold(alice, 10, "lookup:2")
    charge(5)
    charge(6, "lookup:2")
    assert [(data["share"], data["size"]) for data in told(alice)] == [(50, "10"), (80, "20")]


def test_a_cap_that_is_lowered_to_what_is_used_announces_it_once(alice: Tenant) -> None:
    change_cap(alice, 10)
    hold(alice, 5, "lookup:1")
    charge(4)
    change_cap(alice, 8)
    change_cap(alice, 8)
    change_cap(alice, 4)
    said = [(data["share"], data["size"], data["held"], data["left"]) for data in told(alice)]
    assert said == [(50, "8", "1", "3"), (80, "4", "1", "0"), (100, "4", "1", "0")]


def test_a_cap_that_is_set_or_raised_announces_what_is_reached(alice: Tenant) -> None:
    hold(alice, 8, "lookup:1")
    charge(8)
    change_cap(alice, 12)
    assert shares(alice) == [50]
    TenantCap.objects.all().delete()
    change_cap(alice, 9)
    assert shares(alice) == [50, 80]


def test_a_changed_cap_of_a_key_announces_its_shares(alice: Tenant, key: ApiKey) -> None:
    account = ledger.account_of(alice, "modash")
    hold(alice, 8, "lookup:1", key=key)
    charge(5)
    cap_key(key, 10)
    in_one(alerts.cap_changed, account, key.pk)
    assert [(data["limit"], data["api_key_id"], data["share"]) for data in told(alice)] == [
        ("key_cap", str(key.pk), 50)
    ]


def test_what_is_rolled_back_takes_its_alert_with_it(alice: Tenant) -> None:
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    with suppress(ZeroDivisionError), transaction.atomic():
        ledger.charge("lookup:1", Decimal(5), key="call")
        assert shares(alice) == [50]
        raise ZeroDivisionError
    assert (shares(alice), ThresholdAlert.objects.count()) == ([], 0)
    charge(5)
    assert shares(alice) == [50]


def test_what_moved_without_an_announcement_is_announced_by_the_next_movement(alice: Tenant, bob: Tenant) -> None:
    cap_tenant(alice, 10)
    hold(alice, 10, "lookup:1")
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_charge_and_release('lookup:1', 5, 0, 'by hand', '', %s, %s)", [uuid7(), uuid7()])
    assert told(alice) == []
    ledger.grant(ledger.account_of(bob, "modash"), Decimal(1))
    assert shares(alice) == [50]


# At once


@pytest.mark.django_db(transaction=True)
def test_of_twenty_charges_at_once_one_announces_each_share(alice: Tenant, key: ApiKey) -> None:
    ledger.grant(ledger.account_of(alice, "modash"), Decimal(20))
    cap_tenant(alice, 20)
    cap_key(key, 16)
    for number in range(20):
        hold(alice, 1, f"lookup:{number}", key=key if number < 16 else None)
    at_once([partial(charge, 1, f"lookup:{number}") for number in range(20)])
    for limit in ("tenant_cap", "key_cap", "grant"):
        assert shares(alice, limit) == [50, 80, 100]


@pytest.mark.django_db(transaction=True)
def test_a_cap_that_is_lowered_among_charges_announces_each_share_once(alice: Tenant) -> None:
    change_cap(alice, 100)
    for number in range(10):
        hold(alice, 1, f"lookup:{number}")
    charges = [partial(charge, 1, f"lookup:{number}") for number in range(10)]
    at_once([*charges, partial(change_cap, alice, 10)])
    assert shares(alice) == [50, 80, 100]


# What it costs


def test_a_charge_that_reaches_nothing_is_one_statement(
    alice: Tenant, key: ApiKey, prepaid: Account, django_assert_num_queries: Any
) -> None:
    cap_tenant(alice, 10)
    cap_key(key, 10)
    hold(alice, 10, "lookup:1", key=key)
    with transaction.atomic():
        with django_assert_num_queries(1):
            ledger.charge("lookup:1", Decimal(1), key="call")
        with CaptureQueriesContext(connection) as reaching:
            ledger.charge("lookup:1", Decimal(8), key="another call")
    assert len(told(alice)) == 6
    # The charge, what was noted, its mark, and who wants to hear; then the time, an event and its deliveries for each of the six.
    assert len(reaching) == 4 + 6 * 3


@pytest.mark.parametrize(
    "changed", [{"spender": uuid7()}, {"grant_number": 1}, {"limit": "key_cap"}, {"limit": "grant"}]
)
def test_the_database_refuses_an_alert_that_names_another_limit(alice: Tenant, changed: dict[str, Any]) -> None:
    cap_tenant(alice, 10)
    hold(alice, 5, "lookup:1")
    charge(5)
    with pytest.raises(IntegrityError, match="an_alert_names_its_limit_and_nothing_else"), transaction.atomic():
        ThresholdAlert.objects.update(**changed)


def test_a_movement_looks_for_shares_from_the_smallest_on(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT billing_shares(), array_agg(used) FROM generate_series(0, 100) AS used WHERE billing_has_a_share(used, 100)"
        )
        shares, looked_at = cursor.fetchone()
    assert shares == sorted(shares) == [50, 80, 100]
    assert looked_at == list(range(shares[0], 101))
