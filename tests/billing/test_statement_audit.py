"""The audit names the first statement that is wrong, missing or inserted, whoever switched the trigger off."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Tenant
from billing import audit, ledger
from billing.models import Account, Statement
from tests.billing.months import end_month, statements_of
from tests.billing.test_chain import tamper as tamper_with_entries
from tests.billing.test_ledger import adjust, hold, in_one

ALTERED = "was altered: its hash is not that of what it says after the one before it."
COLUMNS = {
    "id": "gen_random_uuid()",
    "first_number": "first_number - 1",
    "last_number": "last_number + 1",
    "closed_at": "closed_at + interval '1 microsecond'",
    "last_entry_hash": "sha256(last_entry_hash)",
    "previous_hash": "sha256(previous_hash)",
    "hash": "sha256(hash)",
    **{
        name: f"{name} + 0.000001"
        for name in (
            *Statement.SUMS.values(),
            *(f"{end}_{balance}" for end in ("opening", "closing") for balance in ("posted", "held", "unknown")),
        )
    },
}
# Columns that are not read from the entries or from the statement before. Only a hash shows that they were changed.
OWN = ("id", "closed_at", "previous_hash", "hash")


@pytest.fixture(autouse=True)
def account(alice: Tenant, prepaid: Account) -> Account:
    """Alice's account after three months, each with a movement, and one without."""
    hold(alice, 4)
    end_month(prepaid)
    in_one(ledger.charge, "lookup:1", Decimal("0.5"), key="call")
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    end_month(prepaid)
    adjust(prepaid, Decimal(1))
    end_month(prepaid)
    end_month(prepaid)
    assert audit.differences() == []
    return prepaid


def tamper(statement: str, *values: Any) -> None:
    """Changes statements as somebody would who can switch the trigger off."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_statement DISABLE TRIGGER USER")
        cursor.execute(statement, values)
        cursor.execute("ALTER TABLE billing_statement ENABLE TRIGGER USER")


def rehash(month: str) -> None:
    tamper(
        "UPDATE billing_statement AS each SET hash = billing_statement_hash(each) WHERE to_char(month, 'YYYY-MM') = %s",
        month,
    )


def chain_anew(account: Account) -> None:
    """Gives all statements the hashes that they must have after each other, and the account the last one."""
    previous = b""
    for statement in statements_of(account):
        tamper("UPDATE billing_statement SET previous_hash = %s WHERE id = %s", previous, statement.pk)
        rehash(f"{statement.month:%Y-%m}")
        previous = bytes(Statement.objects.get(pk=statement.pk).hash)
    Account.objects.filter(pk=account.pk).update(last_statement_hash=previous)


def month(account: Account, nth: int) -> str:
    return f"{statements_of(account)[nth].month:%Y-%m}"


def alter(account: Account, nth: int, column: str) -> None:
    tamper(
        f"UPDATE billing_statement SET {column} = {COLUMNS[column]} WHERE id = %s",
        statements_of(account)[nth].pk,
    )


def found() -> list[str]:
    return [said.removeprefix("Alice at modash: statement ") for said in audit.differences()]


@pytest.mark.parametrize("column", COLUMNS)
def test_an_altered_statement_is_named(account: Account, column: str) -> None:
    alter(account, 1, column)
    assert found() == [f"{month(account, 1)} {ALTERED}"]


@pytest.mark.parametrize("nth", [0, 3])
def test_the_first_and_the_last_are_no_exceptions(account: Account, nth: int) -> None:
    alter(account, nth, "closed_at")
    assert found() == [f"{month(account, nth)} {ALTERED}"]


@pytest.mark.parametrize("column", ["id", "closed_at"])
def test_one_that_was_hashed_anew_is_named(account: Account, column: str) -> None:
    alter(account, 1, column)
    rehash(month(account, 1))
    assert found() == [f"{month(account, 1)} was altered: the next one was written after another."]


@pytest.mark.parametrize("column", sorted(set(COLUMNS) - set(OWN)))
def test_one_in_a_chain_that_was_made_anew_is_named(account: Account, column: str) -> None:
    alter(account, 1, column)
    chain_anew(account)
    [said] = found()
    assert said.startswith((f"{month(account, 1)} says that ", f"{month(account, 1)} does not end with the hash"))


def test_a_wrong_sum_is_said_with_what_it_must_be(account: Account) -> None:
    alter(account, 1, "charges")
    chain_anew(account)
    assert found() == [f"{month(account, 1)} says that charges is 0.500001; it must be 0.5."]


def test_the_last_one_hashed_anew_is_named(account: Account) -> None:
    alter(account, 3, "closed_at")
    rehash(month(account, 3))
    assert found() == [f"{month(account, 3)} was altered: the account ends with another hash."]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_missing_one_is_named(account: Account, nth: int) -> None:
    name = month(account, nth)
    tamper("DELETE FROM billing_statement WHERE id = %s", statements_of(account)[nth].pk)
    assert found() == [f"{name} is missing."]


def test_the_first_one_missing_shows_in_the_second(account: Account) -> None:
    name = month(account, 1)
    tamper("DELETE FROM billing_statement WHERE id = %s", statements_of(account)[0].pk)
    assert found() == [f"{name} {ALTERED}"]


def test_all_missing_are_named_by_the_last(account: Account) -> None:
    name = month(account, 3)
    tamper("DELETE FROM billing_statement")
    assert found() == [f"{name} is missing."]


def test_one_of_a_month_that_is_open_is_named(account: Account) -> None:
    Account.objects.update(open_month=statements_of(account)[3].month)
    assert found() == [f"{month(account, 3)} was inserted: that month is not closed."]


def test_a_statement_that_is_right_shows_an_entry_that_is_not(account: Account) -> None:
    """Somebody wrote the account's entries anew. The closed month still says what was charged."""
    tamper_with_entries("UPDATE billing_entry SET amount = 0.4 WHERE kind = 'charge'")
    assert found()[-1] == f"{month(account, 1)} says that charges is 0.5; it must be 0.4."


def test_the_first_of_several_is_named(account: Account) -> None:
    for nth in (1, 2):
        alter(account, nth, "charges")
    assert found() == [f"{month(account, 1)} {ALTERED}"]


def test_each_account_has_months_of_its_own(account: Account, bob: Tenant) -> None:
    other = ledger.account_of(bob, "modash")
    end_month(other)
    alter(account, 0, "closed_at")
    alter(other, 0, "closed_at")
    assert [said.split(": statement")[0] for said in audit.differences()] == ["Alice at modash", "Bob at modash"]
