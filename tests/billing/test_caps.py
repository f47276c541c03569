"""Caps a UTC month and budgets a search: nothing is held above one, and a refusal says which, and moves nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from billing import audit, caps, ledger
from billing.caps import LimitReached, Spender
from billing.models import Account, Budget, Entry, Hold, KeyCap, KeyMonth, TenantCap, TenantMonth
from tests.billing.test_ledger import demand, in_one

OCTOBER, NOVEMBER, DECEMBER = date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)
BUDGET = "search:1"


@pytest.fixture(autouse=True)
def november(db: None) -> None:
    it_is(NOVEMBER)


@pytest.fixture
def account(alice: Tenant) -> Account:
    return ledger.account_of(alice, "modash")


@pytest.fixture
def key(alice: Tenant) -> ApiKey:
    return keys.issue(alice, Mode.LIVE)[0]


def it_is(month: date) -> None:
    """Moves the database's calendar, until the test's transaction is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION billing_month() RETURNS date LANGUAGE sql VOLATILE AS $$ SELECT date '{month}' $$"
        )


def cap_tenant(tenant: Tenant, amount: Decimal | int | str, provider: str = "modash") -> None:
    TenantCap.objects.update_or_create(tenant=tenant, provider=provider, defaults={"amount": Decimal(amount)})


def cap_key(key: ApiKey, amount: Decimal | int | str, provider: str = "modash") -> None:
    KeyCap.objects.update_or_create(api_key=key, provider=provider, defaults={"amount": Decimal(amount)})


def hold(
    tenant: Tenant,
    amount: Decimal | int | str,
    reference: str,
    *,
    key: ApiKey | None = None,
    most: Decimal | int | str | None = None,
    provider: str = "modash",
) -> None:
    max_credits = {} if most is None else {provider: Decimal(most)}
    spender = Spender(api_key_id=key.pk if key else None, search=BUDGET, max_credits=max_credits)
    in_one(ledger.hold, [demand(tenant, amount, reference, provider)], spender)


def refused(*arguments: Any, **named: Any) -> Any:
    """Returns why a hold is refused, once it is checked that it moved nothing."""
    before = moved()
    with pytest.raises(LimitReached) as caught:
        hold(*arguments, **named)
    assert moved() == before
    return caught.value


def moved() -> object:
    tables = (Account, Entry, Hold, TenantMonth, KeyMonth, Budget)
    return [list(table.objects.order_by("pk").values()) for table in tables]


def months() -> list[Any]:
    assert audit.differences() == []
    return list(TenantMonth.objects.order_by("month").values_list("month", "used", "held"))


# What a refusal says


def test_a_hold_may_reach_a_tenants_cap_and_no_more(alice: Tenant, account: Account) -> None:
    cap_tenant(alice, 5)
    hold(alice, 4, "lookup:1")
    in_one(ledger.charge, "lookup:1", Decimal("1.5"), key="call")
    hold(alice, 1, "lookup:2")
    error = refused(alice, "0.000001", "lookup:3")
    assert (error.code, error.limit.size, error.limit.used, error.limit.held) == (
        "tenant_cap_reached",
        5,
        Decimal("1.5"),
        Decimal("3.5"),
    )
    assert str(error) == (
        "This search can cost up to 0.000001 modash credits, and your cap is 5 a month (1.5 used, 3.5 held), which leaves 0 "
        "until it renews at 2026-12-01T00:00:00Z; ask for fewer results, wait, or have the cap raised."
    )


def test_a_keys_cap_binds_that_key_alone(alice: Tenant, account: Account, key: ApiKey) -> None:
    other = keys.issue(alice, Mode.LIVE)[0]
    cap_key(key, 2)
    hold(alice, 2, "lookup:1", key=key)
    error = refused(alice, 1, "lookup:2", key=key)
    assert (error.code, error.limit.asked, error.limit.held) == ("key_cap_reached", 1, 2)
    assert "the API key's cap is 2 a month (0 used, 2 held), which leaves 0 until" in str(error)
    hold(alice, 9, "lookup:3", key=other)
    assert months() == [(NOVEMBER, 0, 11)]


def test_max_credits_bind_one_search(alice: Tenant, account: Account) -> None:
    error = refused(alice, "2.6", "lookup:1", most="2.5")
    assert (error.code, error.limit.renews_at) == ("max_credits_too_low", None)
    assert str(error) == (
        "This search can cost up to 2.6 modash credits, and its max_credits.modash is 2.5 (0 used, 0 held), which leaves 2.5; "
        "raise that, or ask for fewer results."
    )
    hold(alice, "2.5", "lookup:1", most="2.5")
    assert audit.differences() == []


def test_of_several_limits_the_narrowest_is_named(alice: Tenant, account: Account, key: ApiKey) -> None:
    cap_tenant(alice, 1)
    cap_key(key, 1)
    assert refused(alice, 2, "lookup:1", key=key, most=1).code == "max_credits_too_low"
    assert refused(alice, 2, "lookup:1", key=key).code == "key_cap_reached"
    assert refused(alice, 2, "lookup:1").code == "tenant_cap_reached"


def test_limits_bind_an_account_that_the_first_hold_makes(alice: Tenant) -> None:
    cap_tenant(alice, 1)
    assert refused_first(alice).code == "tenant_cap_reached"
    assert not Account.objects.exists()


def refused_first(alice: Tenant) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        hold(alice, 2, "lookup:1")
    return caught.value


def test_a_lookup_that_costs_nothing_is_never_refused(alice: Tenant, account: Account) -> None:
    cap_tenant(alice, 0)
    hold(alice, 0, "lookup:1", most=0)
    assert (refused(alice, 1, "lookup:2").limit.left, months()) == (0, [])


def test_providers_have_caps_of_their_own_and_are_held_all_or_none(alice: Tenant) -> None:
    for provider in ("memories", "modash"):
        ledger.account_of(alice, provider)
    cap_tenant(alice, 1)
    before = moved()
    with pytest.raises(LimitReached) as caught:
        in_one(ledger.hold, [demand(alice, 2, f"lookup:{provider}", provider) for provider in ("memories", "modash")])
    assert (caught.value.limit.provider, moved()) == ("modash", before)
    hold(alice, 2, "lookup:memories", provider="memories")


# Raised and lowered


def test_a_cap_acts_as_soon_as_it_is_raised_or_lowered(alice: Tenant, account: Account) -> None:
    cap_tenant(alice, 1)
    refused(alice, 2, "lookup:1")
    cap_tenant(alice, 2)
    hold(alice, 2, "lookup:1")
    cap_tenant(alice, 1)
    error = refused(alice, "0.1", "lookup:2")
    assert (error.limit.size, error.limit.held, error.limit.left) == (1, 2, 0)
    TenantCap.objects.all().delete()
    hold(alice, "0.1", "lookup:2")


def test_a_cap_below_what_is_used_takes_nothing_back(alice: Tenant, account: Account) -> None:
    hold(alice, 4, "lookup:1")
    cap_tenant(alice, 1)
    assert in_one(ledger.close, "lookup:1", Decimal(3), key="call") == 3
    assert refused(alice, "0.1", "lookup:2").limit.used == 3
    assert months() == [(NOVEMBER, 3, 0)]


def test_what_is_released_may_be_held_again(alice: Tenant, account: Account, key: ApiKey) -> None:
    cap_key(key, 4)
    hold(alice, 4, "lookup:1", key=key)
    in_one(ledger.close, "lookup:1", Decimal(1), key="call")
    hold(alice, 3, "lookup:2", key=key)
    assert refused(alice, "0.1", "lookup:3", key=key).limit.used == 1


def test_what_is_unknown_counts_as_held_until_it_is_settled(alice: Tenant, account: Account) -> None:
    cap_tenant(alice, 4)
    hold(alice, 4, "lookup:1")
    in_one(ledger.set_unknown, "lookup:1", Decimal(3))
    in_one(ledger.close, "lookup:1")
    assert refused(alice, 2, "lookup:2").limit.held == 3
    ledger.settle("lookup:1", charged=Decimal(1))
    assert months() == [(NOVEMBER, 1, 0)]
    hold(alice, 3, "lookup:2")


@pytest.mark.parametrize("limit", ["tenant", "key", "search"])
def test_a_second_hold_keeps_every_limit(alice: Tenant, account: Account, key: ApiKey, limit: str) -> None:
    if limit == "tenant":
        cap_tenant(alice, 3)
    elif limit == "key":
        cap_key(key, 3)
    hold(alice, 2, "lookup:1", key=key, most=3 if limit == "search" else None)
    before = moved()
    assert not in_one(ledger.hold_more, "lookup:1", Decimal(2), key="call")
    assert moved() == before
    assert in_one(ledger.hold_more, "lookup:1", Decimal(1), key="call")
    assert audit.differences() == []


# Months


def test_a_charge_counts_in_the_month_of_its_hold(alice: Tenant, account: Account, key: ApiKey) -> None:
    hold(alice, 4, "lookup:1", key=key)
    it_is(DECEMBER)
    in_one(ledger.charge, "lookup:1", Decimal(1), key="call")
    assert in_one(ledger.hold_more, "lookup:1", Decimal(2), key="another")
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    in_one(ledger.close, "lookup:1")
    ledger.settle("lookup:1", charged=Decimal(1))
    assert months() == [(NOVEMBER, 2, 0)]
    of_key: list[Any] = list(KeyMonth.objects.values_list("spender", "month", "used", "held"))
    assert of_key == [(key.pk, NOVEMBER, 2, 0)]


def test_a_cap_renews_with_the_month(alice: Tenant, account: Account) -> None:
    cap_tenant(alice, 4)
    hold(alice, 4, "lookup:1")
    it_is(DECEMBER)
    hold(alice, 4, "lookup:2")
    assert refused(alice, 1, "lookup:3").limit.renews_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert months() == [(NOVEMBER, 0, 4), (DECEMBER, 0, 4)]


def test_the_calendar_is_that_of_utc() -> None:
    definition = (Path(caps.__file__).parent / "caps.sql").read_text().split("CREATE OR REPLACE ")[1].split("\n\n")[0]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'Pacific/Kiritimati'")
        cursor.execute(f"CREATE OR REPLACE {definition}")
        cursor.execute("SELECT billing_month() = date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date")
        assert cursor.fetchone() == (True,)


def test_the_month_after_december_is_january() -> None:
    assert [caps.next_month(month) for month in (OCTOBER, DECEMBER)] == [
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    ]


# The database and the audit


def test_a_grant_or_an_adjustment_counts_in_no_month(alice: Tenant, account: Account) -> None:
    ledger.grant(account, Decimal(5))
    ledger.adjust(account, Decimal(-1), memo="by hand", person="olive", corrects="1")
    assert months() == []
    assert not Entry.objects.exclude(month=None, spender=None, budget="").exists()


def test_the_database_refuses_a_budget_that_is_exceeded(alice: Tenant, account: Account) -> None:
    with pytest.raises(IntegrityError, match="budget_never_exceeded"):
        Budget.objects.create(account=account, reference=BUDGET, most=1, used=1, held=1)


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        (TenantMonth, {"used": 2}, "in 2026-11: used is 2, the entries say 1"),
        (TenantMonth, {"month": OCTOBER}, "in 2026-10: used is 1, the entries say 0"),
        (KeyMonth, {"held": 9}, "in 2026-11 by the API key {key}: held is 9, the entries say 3"),
        (KeyMonth, None, "in 2026-11 by the API key {key}: used is 0, the entries say 1"),
        (Budget, {"used": 0}, "search:1: used is 0, the entries say 1"),
        (Hold, {"month": OCTOBER}, "lookup:1: the hold counts in another month, API key or budget than its entries"),
        (Hold, {"spender": uuid4()}, "lookup:1: the hold counts in another month, API key or budget than its entries"),
    ],
)
def test_the_audit_names_a_count_that_the_entries_do_not_prove(
    alice: Tenant, account: Account, key: ApiKey, table: Any, change: dict[str, Any] | None, says: str
) -> None:
    hold(alice, 4, "lookup:1", key=key, most=4)
    in_one(ledger.charge, "lookup:1", Decimal(1), key="call")
    assert audit.differences() == []
    table.objects.all().delete() if change is None else table.objects.update(**change)
    assert f"Alice at modash: {says.format(key=key.pk)}." in audit.differences()


def test_the_present_caps_are_read_in_one_query(alice: Tenant, key: ApiKey, django_assert_num_queries: Any) -> None:
    accounts = [ledger.account_of(alice, provider) for provider in ("modash", "memories")]
    cap_tenant(alice, 5)
    cap_key(key, 3)
    hold(alice, 2, "lookup:1", key=key)
    with django_assert_num_queries(1):
        first, second = caps.attach(accounts, key)
    shown: list[Any] = [(cap.name, cap.size, cap.held) for cap in vars(first)["caps"]]
    assert (shown, vars(second)["caps"]) == ([("tenant_cap", 5, 2), ("key_cap", 3, 2)], [])
