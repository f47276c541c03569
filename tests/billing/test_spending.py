"""The cost of a lookup's calls comes out of its hold, once and never more than was held; the last releases the rest."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Tenant
from billing import audit, ledger
from billing.ledger import Tally
from billing.models import Account, Entry, Hold
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.billing.test_ledger import balance, hold, in_one, tally
from tests.patience import HANGS_AFTER_SECONDS
from tests.racing import at_once

# Charging


def test_a_charge_moves_what_was_held(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    assert in_one(ledger.charge, "lookup:1", Decimal("1.5"), key="call") == Decimal("1.5")
    assert balance(alice) == (Decimal("8.5"), Decimal("2.5"))
    assert tally() == Tally(held=Decimal("2.5"), charged=Decimal("1.5"))


def test_a_bill_above_the_hold_is_not_charged(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    assert in_one(ledger.charge, "lookup:1", Decimal(9), key="call") == 4
    assert in_one(ledger.charge, "lookup:1", Decimal(1), key="next call") == 0
    assert (balance(alice), tally()) == ((6, 0), Tally(charged=Decimal(4)))


def test_a_call_is_charged_once(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.charge, "lookup:1", Decimal(1), key="call")
    with pytest.raises(IntegrityError):
        in_one(ledger.charge, "lookup:1", Decimal(1), key="call")
    assert (balance(alice), tally().charged) == ((9, 3), Decimal(1))
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_one_of_many_charges_of_one_call_counts(alice: Tenant) -> None:
    hold(alice, 40)

    def charged(_: int) -> bool:
        try:
            in_one(ledger.charge, "lookup:1", Decimal(1), key="call")
        except IntegrityError:
            return False
        return True

    assert sum(at_once([partial(charged, number) for number in range(10)])) == 1
    assert balance(alice) == (-1, 39)
    assert audit.differences() == []


def test_a_lookup_of_which_nothing_is_held_costs_nothing(alice: Tenant) -> None:
    assert in_one(ledger.charge, "lookup:1", Decimal(1), key="call") == 0
    assert not in_one(ledger.hold_more, "lookup:1", Decimal(1), key="call")
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    in_one(ledger.close, "lookup:1")
    assert not Entry.objects.exists()


# Closing


def test_a_lookup_is_closed_in_one_movement(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    assert in_one(ledger.close, "lookup:1", Decimal(1), key="call") == 1
    assert (balance(alice), tally()) == ((9, 0), Tally(charged=Decimal(1)))
    assert not Hold.objects.exists()
    entries = Entry.objects.filter(reference="lookup:1").order_by("number")
    assert [(entry.key, entry.amount) for entry in entries] == [
        ("hold:lookup:1", Decimal(4)),
        ("charge:call", Decimal(1)),
        ("release:lookup:1", Decimal(3)),
    ]
    assert audit.differences() == []


def test_closing_charges_no_more_than_what_is_open_and_keeps_what_is_unknown(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(3))
    assert in_one(ledger.close, "lookup:1", Decimal(9), key="call") == 1
    assert (balance(alice), tally()) == ((9, 3), Tally(charged=Decimal(1), unknown=Decimal(3)))
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_one_of_many_closes_of_one_lookup_moves_credits(alice: Tenant) -> None:
    hold(alice, 40)

    def closed(number: int) -> Decimal:
        return in_one(ledger.close, "lookup:1", Decimal(1), key=f"call-{number}")

    assert sorted(at_once([partial(closed, number) for number in range(10)])) == [0] * 9 + [1]
    assert balance(alice) == (-1, 0)
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_a_charge_waits_for_another_and_takes_what_that_left(alice: Tenant) -> None:
    hold(alice, 40)
    with background() as start:
        with transaction.atomic():
            ledger.charge("lookup:1", Decimal(30), key="call")
            other = start(partial(in_one, ledger.charge, "lookup:1", Decimal(30), key="another call"))
            until_somebody_waits_for_a_lock()
        assert other.result(HANGS_AFTER_SECONDS) == 10
    assert (balance(alice), tally()) == ((-40, 0), Tally(charged=Decimal(40)))


@pytest.mark.django_db(transaction=True)
def test_a_close_waits_for_a_settlement_by_hand(alice: Tenant) -> None:
    hold(alice, 40)
    in_one(ledger.set_unknown, "lookup:1", Decimal(30))
    with background() as start:
        with transaction.atomic():
            ledger.settle("lookup:1", charged=Decimal(20))
            closes = start(partial(in_one, ledger.close, "lookup:1", Decimal(5), key="call"))
            until_somebody_waits_for_a_lock()
        assert closes.result(HANGS_AFTER_SECONDS) == 5
    assert (balance(alice), tally()) == ((-25, 0), Tally(charged=Decimal(25)))
    assert not Hold.objects.exists()
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_settling_by_hand_and_closing_at_once_lose_no_credit(alice: Tenant) -> None:
    hold(alice, 100)
    in_one(ledger.set_unknown, "lookup:1", Decimal(50))

    def close(_: int) -> None:
        in_one(ledger.close, "lookup:1", Decimal(7), key="call")

    def settle(_: int) -> None:
        ledger.settle("lookup:1", amount=Decimal(5), charged=Decimal(1))

    at_once([partial(close, 0), *(partial(settle, number) for number in range(10))])
    assert (balance(alice), tally()) == ((-17, 0), Tally(charged=Decimal(17)))
    assert not Hold.objects.exists()
    assert audit.differences() == []
