"""Double entry is a view: a debit and a credit of each entry, and a trial balance of zero."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import Tenant
from billing import audit, ledger
from billing.models import Account, Entry
from tests.billing.test_ledger import adjust, hold, in_one

BOOKS = ("issued", "available", "held", "unknown", "consumed", "corrections")


@pytest.fixture(autouse=True)
def movements(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.charge, "lookup:1", Decimal("0.5"), key="call")
    in_one(ledger.set_unknown, "lookup:1", Decimal(2))
    ledger.settle("lookup:1", amount=Decimal(1), charged=Decimal("0.25"))
    adjust(prepaid, Decimal(-3))
    in_one(ledger.close, "lookup:1")


def rows(query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        found: list[Any] = cursor.fetchall()
        return found


def trial_balance() -> dict[str, Decimal]:
    (found,) = rows(f"SELECT {', '.join(BOOKS)}, balance FROM billing_trial_balance")
    return dict(zip((*BOOKS, "balance"), found, strict=True))


def test_each_book_has_what_the_movements_left_in_it() -> None:
    assert trial_balance() == {
        "issued": -10,
        "available": Decimal("5.25"),
        "held": 0,
        "unknown": 1,
        "consumed": Decimal("0.75"),
        "corrections": 3,
        "balance": 0,
    }


def test_each_entry_is_a_debit_and_a_credit_of_one_amount() -> None:
    lines = rows(
        "SELECT number, sum(debit), sum(credit), count(*) FROM billing_posting GROUP BY number ORDER BY number"
    )
    amounts = Entry.objects.order_by("number").values_list("number", "amount")
    assert lines == [(number, abs(amount), abs(amount), 2) for number, amount in amounts]


def test_no_debit_or_credit_is_below_zero() -> None:
    assert rows("SELECT * FROM billing_posting WHERE debit < 0 OR credit < 0 OR debit > 0 AND credit > 0") == []


def test_every_kind_of_entry_has_its_books() -> None:
    """The view has its own rules. An entry of a kind that it does not know would be in no book."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_viewdef('billing_posting'::regclass)")
        definition = cursor.fetchone()[0]
    assert all(f"'{kind}'::text" in definition for kind in Entry.Kind.values)


@pytest.mark.parametrize("statement", ["DELETE FROM billing_posting", "UPDATE billing_posting SET debit = 0"])
def test_the_books_are_read_only(statement: str) -> None:
    with pytest.raises(DatabaseError, match="view"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_an_entry_that_the_books_have_otherwise_is_named() -> None:
    """Takes the rule of charges out of the books, as a change that forgets a kind would."""
    (definition,) = rows("SELECT pg_get_viewdef('billing_posting'::regclass)")[0]
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE VIEW billing_posting AS " + definition.replace("'charge'::text", "'none'::text")
        )
    assert audit.differences() == ["Alice at modash: held and not unknown is 0, the books say 0.75."]
