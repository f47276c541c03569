"""Grants are spent by priority, then expiry, then age; what no hold has drawn expires, by an entry of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Tenant
from billing import audit, grants, ledger, tasks
from billing.caps import LimitReached
from billing.models import Account, Draw, Entry, Grant
from tests.billing.months import end_month, end_of_open_month, open_since, statements_of
from tests.billing.passing import ends, expires_in, has_ended
from tests.billing.test_ledger import adjust, hold, in_one
from tests.racing import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(alice: Tenant) -> Account:
    return ledger.account_of(alice, "modash")


def grant(account: Account, amount: int | str, **terms: Any) -> int:
    """Returns the number of the grant."""
    ledger.grant(account, Decimal(amount), **terms)
    return Grant.objects.latest("number").number


def available() -> list[str]:
    """Returns what each grant has available, the oldest first."""
    return [f"{grant.available.normalize():f}" for grant in Grant.objects.order_by("number")]


def entries(*kinds: str) -> list[tuple[str, str, str]]:
    return [
        (entry.kind, f"{entry.amount.normalize():f}", entry.reference)
        for entry in Entry.objects.filter(kind__in=kinds).order_by("number")
    ]


# The order of spending


def test_a_hold_draws_from_the_lowest_priority_first(alice: Tenant, account: Account) -> None:
    grant(account, 5)
    grant(account, 5, priority=10)
    hold(alice, 7)
    assert available() == ["3", "0"]


def test_of_equal_priority_the_one_that_expires_first_is_drawn_first(alice: Tenant, account: Account) -> None:
    grant(account, 5)
    grant(account, 5, expires_at=expires_in(days=2))
    grant(account, 5, expires_at=expires_in(days=1))
    hold(alice, 6)
    assert available() == ["5", "4", "0"]


def test_of_equal_expiry_the_oldest_is_drawn_first(alice: Tenant, account: Account) -> None:
    at = expires_in(days=1)
    grant(account, 5, expires_at=at)
    grant(account, 5, expires_at=at)
    hold(alice, 6)
    assert available() == ["0", "4"]


def test_what_belongs_to_no_grant_is_drawn_last(alice: Tenant, account: Account) -> None:
    grant(account, 5)
    adjust(account, 4)
    hold(alice, 8)
    assert available() == ["0"]
    assert [draw.amount for draw in Draw.objects.all()] == [5]


def test_a_charge_spends_the_draws_in_that_order_and_a_release_gives_the_last_back(
    alice: Tenant, account: Account
) -> None:
    grant(account, 5, priority=1)
    grant(account, 5, priority=2)
    grant(account, 5, priority=3)
    hold(alice, 12)
    in_one(ledger.close, "lookup:1", Decimal(7), key="c")
    assert available() == ["0", "3", "5"]
    assert not Draw.objects.exists()


def test_a_second_hold_draws_more(alice: Tenant, account: Account) -> None:
    grant(account, 5)
    grant(account, 5)
    hold(alice, 4)
    assert in_one(ledger.hold_more, "lookup:1", Decimal(3), key="more")
    assert available() == ["0", "3"]
    assert sorted(draw.amount for draw in Draw.objects.all()) == [2, 5]


def test_an_adjustment_takes_what_belongs_to_no_grant_first(account: Account) -> None:
    grant(account, 5, priority=1)
    grant(account, 5)
    adjust(account, 2)
    adjust(account, -6)
    assert available() == ["1", "5"]
    assert audit.differences() == []


# Expiry


def test_what_is_left_of_a_grant_expires_by_an_entry_that_names_it(account: Account) -> None:
    grant(account, 3)
    number = grant(account, 5, expires_at=expires_in(days=1))
    has_ended(number)
    assert grants.expire(account.pk) == 1
    account.refresh_from_db()
    assert account.posted == 3
    assert account.next_expiry is None
    assert entries("expiry") == [("expiry", "5", f"entry:{number}")]
    assert grants.expire(account.pk) == 0
    assert audit.differences() == []


def test_an_expired_grant_is_not_spent_though_no_sweep_has_run(alice: Tenant, account: Account) -> None:
    has_ended(grant(account, 5, expires_at=expires_in(days=1)))
    with pytest.raises(LimitReached) as refused:
        hold(alice, 1)
    assert (refused.value.limit.name, refused.value.limit.left) == ("balance", Decimal(0))
    grant(account, 2)
    hold(alice, 2)
    assert entries("expiry", "hold") == [("expiry", "5", "entry:1"), ("hold", "2", "lookup:1")]


def test_what_is_held_when_a_grant_expires_stays_good_for_the_hold(alice: Tenant, account: Account) -> None:
    number = grant(account, 5, expires_at=expires_in(days=1))
    hold(alice, 4)
    has_ended(number)
    grants.expire(account.pk)
    assert entries("expiry") == [("expiry", "1", f"entry:{number}")]
    assert in_one(ledger.close, "lookup:1", Decimal(4), key="c") == 4
    account.refresh_from_db()
    assert account.posted == account.held == account.available == 0
    assert audit.differences() == []


def test_what_a_hold_gives_back_to_an_expired_grant_expires_at_once(alice: Tenant, account: Account) -> None:
    number = grant(account, 5, expires_at=expires_in(days=1))
    grant(account, 5)
    hold(alice, 7)
    has_ended(number)
    in_one(ledger.close, "lookup:1", Decimal(3), key="c")
    assert entries("expiry", "charge", "release") == [
        ("charge", "3", "lookup:1"),
        ("release", "4", "lookup:1"),
        ("expiry", "2", f"entry:{number}"),
    ]
    assert available() == ["0", "5"]
    assert audit.differences() == []


def test_what_is_unknown_when_a_grant_expires_stays_good_until_it_is_settled(alice: Tenant, account: Account) -> None:
    number = grant(account, 5, expires_at=expires_in(days=1))
    hold(alice, 5)
    in_one(ledger.set_unknown, "lookup:1", Decimal(2))
    has_ended(number)
    in_one(ledger.close, "lookup:1", Decimal(1), key="c")
    assert entries("expiry") == [("expiry", "2", f"entry:{number}")]
    ledger.settle("lookup:1", charged=Decimal("0.5"))
    assert entries("expiry")[1:] == [("expiry", "1.5", f"entry:{number}")]
    account.refresh_from_db()
    assert account.posted == account.held == 0
    assert audit.differences() == []


def test_an_expiry_counts_in_no_month_and_against_no_cap(alice: Tenant, account: Account) -> None:
    number = grant(account, 5, expires_at=expires_in(days=1))
    hold(alice, 5)
    has_ended(number)
    in_one(ledger.close, "lookup:1", Decimal(1), key="c")
    [month] = account.months.all()
    assert month.used == 1
    assert month.held == 0


def test_the_sweep_lets_the_grants_of_idle_accounts_expire(account: Account, bob: Tenant) -> None:
    other = ledger.account_of(bob, "modash")
    for one in (account, other):
        has_ended(grant(one, 5, expires_at=expires_in(days=1)), of=one)
    tasks.expire_grants()
    assert set(Account.objects.values_list("posted", flat=True)) == {0}


def test_balances_leave_out_what_has_ended_though_no_entry_says_so_yet(account: Account) -> None:
    grant(account, 3, memo="a bonus")
    number = grant(account, 5, expires_at=expires_in(days=1))
    has_ended(number)
    shown: Any = grants.attach([Account.objects.get()])[0]
    assert shown.available == 3
    assert [(one.number, one.memo) for one in shown.live_grants] == [(1, "a bonus")]


def test_a_grant_that_ended_in_a_month_expires_in_it_though_the_month_is_closed_first(account: Account) -> None:
    number = grant(account, 5, expires_at=expires_in(days=1))
    grant(account, 3)
    ends(number, end_of_open_month(account) - timedelta(microseconds=1))
    end_month(account)
    [statement] = statements_of(account)
    assert statement.expiries == 5
    assert statement.closing_posted == 3
    assert statement.last_number == 3
    assert grants.expire(account.pk) == 0
    assert audit.differences() == []


def test_a_grant_that_ends_with_a_month_expires_in_the_next(account: Account) -> None:
    number = grant(account, 5, expires_at=expires_in(days=1))
    ends(number, end_of_open_month(account))
    end_month(account)
    [statement] = statements_of(account)
    assert statement.expiries == 0
    assert statement.closing_posted == 5
    assert audit.differences() == []


@pytest.mark.parametrize("by_movement", [True, False])
def test_each_month_that_ended_unnoticed_has_its_own_expiries(account: Account, by_movement: bool) -> None:
    """No sweep has run for two months. One grant ended in each, and one is due by now."""
    numbers = [grant(account, amount, expires_at=expires_in(days=1)) for amount in (1, 2, 4)]
    open_since(account, 2)
    end = end_of_open_month(account)
    for number, moment in zip(numbers, (end - timedelta(days=1), end + timedelta(days=1), timezone.now()), strict=True):
        ends(number, moment)
    if by_movement:
        adjust(account, 10)
    else:
        grants.expire(account.pk)
    assert [statement.expiries for statement in statements_of(account)] == [1, 2]
    assert entries("expiry")[2] == ("expiry", "4", f"entry:{numbers[2]}")
    assert audit.differences() == []


# Bad input


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, grants.EXPIRES_AT),
        ({"expires_at": datetime(2099, 1, 1)}, grants.EXPIRES_AT),  # noqa: DTZ001
        ({"priority": -1}, grants.PRIORITY),
        ({"priority": 101}, grants.PRIORITY),
        ({"memo": "m" * 201}, "memo: must have at most 200 characters."),
    ],
)
def test_a_wrong_grant_moves_nothing(account: Account, terms: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence.split('(')[0][:40]}"):
        grant(account, 5, **terms)
    assert not Entry.objects.exists()
    assert not Grant.objects.exists()


# Races and crashes


@pytest.mark.django_db(transaction=True)
def test_an_expiry_beside_holds_and_releases_loses_and_invents_no_credit(alice: Tenant, account: Account) -> None:
    expiring = grant(account, 20, expires_at=expires_in(days=1))
    grant(account, 20)

    def spend(number: int) -> None:
        reference = f"lookup:{number}"
        try:
            hold(alice, 3, reference)
        except LimitReached:
            return
        in_one(ledger.close, reference, Decimal(number % 4), key=reference)

    def end() -> None:
        has_ended(expiring)
        grants.expire(account.pk)

    at_once([*(lambda number=number: spend(number) for number in range(12)), end, end])
    assert audit.differences() == []
    account.refresh_from_db()
    charged = sum(entry.amount for entry in Entry.objects.filter(kind="charge"))
    expired = sum(entry.amount for entry in Entry.objects.filter(kind="expiry"))
    assert account.held == 0
    assert account.posted == 40 - charged - expired == Grant.objects.get(number=2).available


def test_an_expiry_that_is_not_committed_leaves_nothing(account: Account) -> None:
    has_ended(grant(account, 5, expires_at=expires_in(days=1)))
    with transaction.atomic():
        assert grants.expire(account.pk) == 1
        transaction.set_rollback(True)
    assert available() == ["5"]
    assert grants.expire(account.pk) == 1


def test_a_grant_that_ends_between_the_limits_and_the_hold_is_refused_by_the_limits(
    alice: Tenant, account: Account
) -> None:
    """The limits find nothing due, as they would a moment earlier."""
    number = grant(account, 6, expires_at=expires_in(days=1))
    has_ended(number)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION billing_due_to_expire(own uuid) RETURNS numeric LANGUAGE sql STABLE AS $$ SELECT 0.0 $$"
        )
    with pytest.raises(LimitReached) as caught:
        hold(alice, 1)
    assert caught.value.limit.name == "balance"
    assert caught.value.limit.short_by == 1


def test_an_expiry_in_another_age_is_refused(account: Account) -> None:
    with pytest.raises(ValueError, match=r"^expires_at: must be within 100 years;"):
        ledger.grant(
            account, Decimal(1), expires_at=datetime(9999, 12, 31, 23, tzinfo=timezone.get_fixed_timezone(-540))
        )
    assert not Entry.objects.exists()


# The audit


def test_a_grant_that_would_expire_too_late_is_named(account: Account) -> None:
    number = grant(account, 6, expires_at=expires_in(days=1))
    Account.objects.update(next_expiry=None)
    assert audit.differences() == [
        f"Alice at modash: grant {number} would expire too late: the next expiry of the account is after it."
    ]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE billing_grant SET amount = 9 WHERE number = 1", "grant 1: the amount is 9, and should be 5"),
        (
            "UPDATE billing_grant SET available = 5 WHERE number = 1",
            "grant 1: what is available, expired and drawn is 7",
        ),
        ("UPDATE billing_grant SET expired = 1, available = 2 WHERE number = 1", "grant 1: what has expired is 1"),
        (
            "UPDATE billing_draw SET amount = 3; UPDATE billing_grant SET available = 2",
            "lookup:1: what it draws from grants is 3, and should be 2",
        ),
        ("DELETE FROM billing_draw; DELETE FROM billing_grant", "grant 1 is missing, though entry 1 is there"),
    ],
)
def test_the_audit_names_a_grant_that_is_not_right(alice: Tenant, account: Account, statement: str, said: str) -> None:
    grant(account, 5)
    hold(alice, 2)
    with connection.cursor() as cursor:
        cursor.execute(statement)
    assert [sentence for sentence in audit.differences() if said in sentence], audit.differences()


def test_a_grant_without_an_entry_is_named(account: Account) -> None:
    grants.add(account, 7, Decimal(5), expires_at=None, priority=50)
    assert audit.differences() == ["Alice at modash: grant 7 has no entry."]


def test_two_releases_of_one_hold_to_an_expired_grant_are_two_entries(alice: Tenant, account: Account) -> None:
    number = grant(account, 6, expires_at=expires_in(days=1) + timedelta(microseconds=1))
    hold(alice, 6)
    for call in ("a", "b"):
        in_one(ledger.set_unknown, "lookup:1", Decimal(3), key=call)
    has_ended(number)
    for _ in range(2):
        ledger.settle("lookup:1", charged=Decimal(1), amount=Decimal(3), key=str(uuid4()))
    assert entries("expiry") == [("expiry", "2", f"entry:{number}")] * 2
