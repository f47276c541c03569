"""A month of an account is closed by its last number, once, and never changes."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import date
from decimal import Decimal
from functools import partial
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from accounts.models import Tenant
from billing import audit, ledger, statements, tasks
from billing.caps import LimitReached
from billing.models import Account, Entry, Statement
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.billing.months import end_month, open_since, ranges, statements_of
from tests.billing.test_ledger import adjust, demand, hold, in_one
from tests.racing import at_once

KILL_WHO_WAITS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def close_at(account: Account, moment: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_close_months(%s, %s)", [account.pk, moment])
        return cursor.fetchone()[0]


def balances(statement: Statement, end: str) -> tuple[Any, ...]:
    return tuple(getattr(statement, f"{end}_{name}") for name in ("posted", "held", "unknown"))


# What it says


def test_a_statement_says_what_the_month_began_with_what_moved_and_what_is_left(
    alice: Tenant, prepaid: Account
) -> None:
    end_month(prepaid)
    hold(alice, 4)
    in_one(ledger.charge, "lookup:1", Decimal("0.5"), key="call")
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    hold(alice, 2, "lookup:2")
    in_one(ledger.close, "lookup:2", Decimal("0.5"))
    adjust(prepaid, "-0.25")
    end_month(prepaid)
    first, second = statements_of(prepaid)
    assert (first.first_number, first.last_number, balances(first, "opening")) == (1, 1, (0, 0, 0))
    assert (second.first_number, second.last_number) == (2, 8)
    assert (balances(second, "opening"), balances(first, "closing")) == ((10, 0, 0), (10, 0, 0))
    sums = {kind: getattr(second, name) for kind, name in Statement.SUMS.items() if getattr(second, name)}
    assert sums == {
        "adjustment": Decimal("-0.25"),
        "charge": 1,
        "hold": 6,
        "release": Decimal("1.5"),
        "unknown": 1,
    }
    assert balances(second, "closing") == (Decimal("8.75"), Decimal("3.5"), 1)
    assert bytes(second.last_entry_hash) == bytes(Entry.objects.get(number=8).hash)


def test_every_kind_of_entry_is_summed() -> None:
    assert set(Statement.SUMS) == set(Entry.Kind)


def test_a_month_without_a_movement_has_a_statement(prepaid: Account) -> None:
    end_month(prepaid)
    end_month(prepaid)
    first, second = statements_of(prepaid)
    assert ranges(prepaid) == [(1, 1), (2, 1)]
    assert balances(second, "opening") == balances(second, "closing") == (10, 0, 0)
    assert second.grants == 0
    assert second.last_entry_hash == first.last_entry_hash


def test_what_is_corrected_later_belongs_to_the_next_month(prepaid: Account) -> None:
    end_month(prepaid)
    adjust(prepaid, -1)
    end_month(prepaid)
    assert [each.adjustments for each in statements_of(prepaid)] == [0, -1]
    assert [each.closing_posted for each in statements_of(prepaid)] == [10, 9]


def test_a_hash_can_be_recomputed_by_anybody(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 1)
    end_month(prepaid)
    end_month(prepaid)
    previous = b""
    for statement in statements_of(prepaid):
        amounts = (
            *balances(statement, "opening"),
            *(getattr(statement, name) for name in Statement.SUMS.values()),
            *balances(statement, "closing"),
        )
        says = [
            *(previous.hex(), str(statement.pk), str(statement.account_id), f"{statement.month:%Y-%m}"),
            *(statement.first_number, statement.last_number, *(f"{amount:.6f}" for amount in amounts)),
            *(statement.closed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), bytes(statement.last_entry_hash).hex()),
        ]
        previous = hashlib.sha256(json.dumps(says).encode()).digest()
        assert bytes(statement.hash) == previous
    prepaid.refresh_from_db()
    assert bytes(prepaid.last_statement_hash) == previous


def test_its_id_is_of_version_7(prepaid: Account) -> None:
    end_month(prepaid)
    statement = Statement.objects.get()
    assert statement.pk.version == 7
    assert abs((statement.pk.int >> 80) / 1000 - statement.closed_at.timestamp()) < 60


@pytest.mark.parametrize("change", ["UPDATE billing_statement SET charges = 1", "DELETE FROM billing_statement"])
def test_the_database_refuses_to_change_it(prepaid: Account, change: str) -> None:
    end_month(prepaid)
    sentence = "closed: what is corrected later"
    with pytest.raises(IntegrityError, match=sentence), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)
    assert Statement.objects.get().charges == 0


# Which month an entry belongs to


def test_the_first_movement_of_a_month_closes_the_one_before(alice: Tenant, prepaid: Account) -> None:
    open_since(prepaid, 1)
    hold(alice, 1)
    [statement] = statements_of(prepaid)
    assert statement.last_number == 1
    assert statement.closing_held == 0
    hold(alice, 1, "lookup:2")
    assert ranges(prepaid) == [(1, 1)]
    prepaid.refresh_from_db()
    assert prepaid.last_number == 3


def test_a_movement_that_ends_a_hold_closes_the_month_that_had_it(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    open_since(prepaid, 1)
    in_one(ledger.close, "lookup:1", Decimal(1))
    [statement] = statements_of(prepaid)
    assert statement.charges == 0
    assert balances(statement, "closing") == (10, 4, 0)
    assert audit.differences() == []


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_a_month_ends_at_midnight_in_utc(prepaid: Account, zone: str) -> None:
    Account.objects.update(open_month=date(2026, 10, 1))
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL TimeZone = '{zone}'")
    assert close_at(prepaid, "2026-10-31T23:59:59.999999Z") == 0
    assert close_at(prepaid, "2026-11-01T00:00:00Z") == 1
    assert close_at(prepaid, "2026-11-01T00:00:00Z") == 0
    prepaid.refresh_from_db()
    assert (statements_of(prepaid)[0].month, prepaid.open_month) == (date(2026, 10, 1), date(2026, 11, 1))


def test_a_month_of_28_days_and_a_years_end_are_months(prepaid: Account) -> None:
    Account.objects.update(open_month=date(2026, 12, 1))
    assert close_at(prepaid, "2027-03-01T00:00:00Z") == 3
    assert [f"{each.month:%Y-%m-%d}" for each in statements_of(prepaid)] == ["2026-12-01", "2027-01-01", "2027-02-01"]


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_is_numbered_before_and_committed_after_the_end_belongs_to_the_month(alice: Tenant) -> None:
    hold(alice, 1)
    account = Account.objects.get()
    with background() as start:
        with transaction.atomic():
            ledger.charge("lookup:1", Decimal("0.5"), key="call")
            closing = start(partial(end_month, account))
            until_somebody_waits_for_a_lock()
        assert closing.result(timeout=5) == 1
    assert ranges(account) == [(1, 2)]
    assert Statement.objects.get().charges == Decimal("0.5")


def test_a_clock_that_steps_back_moves_no_entry_into_a_closed_month(alice: Tenant, prepaid: Account) -> None:
    """The month was closed by a clock that was ahead; the next entry is written by the clock set right."""
    end_month(prepaid)
    hold(alice, 1)
    assert Entry.objects.get(number=2).created_at.date() < Account.objects.get().open_month
    assert ranges(prepaid) == [(1, 1)]
    end_month(prepaid)
    assert ranges(prepaid) == [(1, 1), (2, 2)]


def test_what_is_rolled_back_closes_nothing(alice: Tenant, prepaid: Account) -> None:
    open_since(prepaid, 1)
    with suppress(ZeroDivisionError), transaction.atomic():
        ledger.hold([demand(alice, 1, "lookup:1")])
        raise ZeroDivisionError
    assert statements_of(prepaid) == []
    hold(alice, 1, "lookup:2")
    assert ranges(prepaid) == [(1, 1)]


def test_a_movement_that_is_refused_leaves_the_money_right(alice: Tenant, prepaid: Account) -> None:
    open_since(prepaid, 1)
    with pytest.raises(LimitReached):
        hold(alice, 11)
    hold(alice, 10)
    assert ranges(prepaid) == [(1, 1)]
    assert audit.differences() == []


# The task and the command


def test_run_twice_it_closes_once(prepaid: Account) -> None:
    open_since(prepaid, 1)
    assert (statements.close_due(), statements.close_due()) == (1, 0)
    tasks.close_months()
    assert ranges(prepaid) == [(1, 1)]


def test_a_month_that_has_not_ended_stays_open(prepaid: Account) -> None:
    assert (statements.due(), statements.close_due(), statements.close(prepaid.pk)) == ([], 0, 0)


def test_run_late_for_several_months_it_closes_each(alice: Tenant, prepaid: Account) -> None:
    open_since(prepaid, 3)
    assert statements.close_due() == 3
    assert ranges(prepaid) == [(1, 1), (2, 1), (2, 1)]
    months = [each.month for each in statements_of(prepaid)]
    prepaid.refresh_from_db()
    assert [(before.year * 12 + before.month + 1) for before in months] == [
        after.year * 12 + after.month for after in [*months[1:], prepaid.open_month]
    ]
    assert audit.differences() == []


def test_entries_after_months_that_nobody_closed_belong_to_the_present_one(alice: Tenant, prepaid: Account) -> None:
    open_since(prepaid, 3)
    hold(alice, 1)
    assert ranges(prepaid) == [(1, 1), (2, 1), (2, 1)]


def test_every_account_is_closed(alice: Tenant, bob: Tenant) -> None:
    accounts = [ledger.account_of(tenant, provider) for tenant in (alice, bob) for provider in ("modash", "keyapi")]
    for account in accounts:
        open_since(account, 1)
    assert statements.close_due() == 4
    assert [ranges(account) for account in accounts] == [[(1, 0)]] * 4
    assert audit.differences() == []


def test_a_run_without_time_leaves_the_rest_due(prepaid: Account) -> None:
    open_since(prepaid, 1)
    assert statements.close_due(seconds=-1) == 0
    assert statements.due() == [prepaid.pk]


@pytest.mark.django_db(transaction=True)
def test_killed_half_way_the_rest_is_closed_by_the_next_run(alice: Tenant, bob: Tenant) -> None:
    first, second = sorted((ledger.account_of(tenant, "modash") for tenant in (alice, bob)), key=lambda each: each.pk)
    for account in (first, second):
        open_since(account, 2)
    with background() as start:
        with transaction.atomic():
            Account.objects.select_for_update(no_key=True).get(pk=second.pk)
            run = start(statements.close_due)
            until_somebody_waits_for_a_lock()
            with connection.cursor() as cursor:
                cursor.execute(KILL_WHO_WAITS)
        with suppress(DatabaseError):
            run.result(timeout=5)
    assert [ranges(account) for account in (first, second)] == [[(1, 0), (1, 0)], []]
    assert statements.close_due() == 2
    assert ranges(second) == [(1, 0), (1, 0)]
    assert audit.differences() == []


def test_the_command_says_what_it_wrote(prepaid: Account) -> None:
    open_since(prepaid, 2)
    said = [StringIO(), StringIO()]
    for out in said:
        call_command("close_months", stdout=out)
    assert [out.getvalue() for out in said] == ["Wrote 2 statements.\n", "Wrote 0 statements.\n"]


# Races


@pytest.mark.django_db(transaction=True)
def test_with_twenty_writers_every_entry_is_in_one_statement(alice: Tenant) -> None:
    hold(alice, 100)
    account = Account.objects.get()

    def write(number: int) -> None:
        for turn in range(5):
            if (number + turn) % 5 == 0:
                end_month(account)
            reference = f"lookup:{number}:{turn}"
            with suppress(ZeroDivisionError), transaction.atomic():
                ledger.hold([demand(alice, 2, reference)])
                ledger.charge(reference, Decimal(1), key=reference)
                if number % 4 == 0:
                    raise ZeroDivisionError
            in_one(ledger.close, reference)

    at_once([partial(write, number) for number in range(20)])
    end_month(account)
    account.refresh_from_db()
    found = ranges(account)
    assert len(found) > 1
    assert (found[0][0], found[-1][1]) == (1, account.last_number)
    assert all(before[1] + 1 == after[0] for before, after in pairwise(found))
    assert sum(each.charges for each in statements_of(account)) == -account.posted
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_closed_by_twenty_at_once_a_month_is_closed_once(alice: Tenant) -> None:
    hold(alice, 1)
    account = Account.objects.get()
    open_since(account, 2)
    assert sum(at_once([statements.close_due] * 20)) == 2
    assert ranges(account) == [(1, 1), (2, 1)]
