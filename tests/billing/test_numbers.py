"""An account numbers its entries 1, 2, 3 … in the order of their commits, and each keeps the balances after it."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from functools import partial

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Tenant
from billing import audit, ledger
from billing.models import Account, Entry
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.billing.test_ledger import demand, hold, in_one
from tests.patience import HANGS_AFTER_SECONDS
from tests.racing import at_once

Balances = tuple[Decimal, Decimal, Decimal]


def numbers(account: Account) -> list[int]:
    return [entry.number for entry in entries_of(account)]


def entries_of(account: Account) -> list[Entry]:
    return list(Entry.objects.filter(account=account).order_by("number"))


def replayed(entries: list[Entry]) -> list[Balances]:
    """Returns what was posted, held and unknown after each entry, from the kinds and amounts alone."""
    posted = held = unknown = Decimal(0)
    found = []
    for entry in entries:
        match entry.kind:
            case "grant" | "adjustment":
                posted += entry.amount
            case "hold":
                held += entry.amount
            case "release":
                held -= entry.amount
            case "expiry":
                posted -= entry.amount
            case "charge":
                posted, held = posted - entry.amount, held - entry.amount
            case "unknown":
                unknown += entry.amount
        found.append((posted, held, unknown))
    return found


# Numbers


def test_each_account_has_numbers_of_its_own(alice: Tenant, prepaid: Account) -> None:
    in_one(ledger.hold, [demand(alice, 1, f"lookup:{at}:{nth}", at) for nth in range(2) for at in ("modash", "keyapi")])
    assert numbers(prepaid) == [1, 2, 3]
    assert numbers(Account.objects.get(provider="keyapi")) == [1, 2]


def test_a_movement_of_nothing_is_no_entry(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 0)
    in_one(ledger.close, "lookup:1")
    assert numbers(prepaid) == [1]
    prepaid.refresh_from_db()
    assert prepaid.last_number == 1


def test_what_is_rolled_back_gives_its_numbers_back(alice: Tenant, prepaid: Account) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        ledger.hold([demand(alice, 1, "lookup:1")])
        raise ZeroDivisionError
    with suppress(IntegrityError), transaction.atomic():
        ledger.grant(prepaid, Decimal(1), key="once")
        ledger.grant(prepaid, Decimal(1), key="once")
    hold(alice, 1, "lookup:2")
    assert numbers(prepaid) == [1, 2]
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_with_rollbacks_leave_no_gap(alice: Tenant) -> None:
    hold(alice, 100)

    def move(number: int) -> bool:
        with suppress(ZeroDivisionError), transaction.atomic():
            ledger.hold([demand(alice, 2, f"lookup:{number}:{part}") for part in range(2)])
            ledger.charge(f"lookup:{number}:0", Decimal(1), key=str(number))
            ledger.set_unknown(f"lookup:{number}:1", Decimal(1))
            if number % 3 == 0:
                raise ZeroDivisionError
            return True
        return False

    succeeded = sum(at_once([partial(move, number) for number in range(20)]))
    assert succeeded == 13
    account = Account.objects.get()
    assert numbers(account) == list(range(1, 2 + 4 * succeeded))
    assert account.last_number == 1 + 4 * succeeded
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_who_commits_first_has_the_lower_number(alice: Tenant) -> None:
    hold(alice, 1)
    with background() as start:
        with transaction.atomic():
            ledger.charge("lookup:1", Decimal("0.5"), key="first")
            later = start(partial(hold, alice, 1, "lookup:2"))
            until_somebody_waits_for_a_lock()
        later.result(HANGS_AFTER_SECONDS)
    assert list(Entry.objects.order_by("number").values_list("kind", flat=True)) == ["hold", "charge", "hold"]
    times = list(Entry.objects.order_by("number").values_list("created_at", flat=True))
    assert times == sorted(times)


def test_the_database_gives_a_number_once(prepaid: Account) -> None:
    with pytest.raises(IntegrityError, match="each_number_of_an_account_is_given_once"), transaction.atomic():
        Entry.objects.create(
            account=prepaid,
            number=1,
            kind="grant",
            amount=1,
            key="again",
            posted_after=11,
            held_after=0,
            unknown_after=0,
            previous_hash=b"",
            hash=b"",
        )


# The unknown part


def test_what_becomes_unknown_and_is_settled_is_on_record(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(3), key="call")
    ledger.settle("lookup:1", amount=Decimal(2), charged=Decimal("0.5"), key="call", person="olive", memo="invoice")
    entries = Entry.objects.order_by("number")[2:]
    assert [(entry.kind, entry.amount, entry.unknown_after, entry.key, entry.person) for entry in entries] == [
        ("unknown", Decimal(3), Decimal(3), "unknown:call", ""),
        ("unknown", Decimal(-2), Decimal(1), "settled:call", "olive"),
        ("charge", Decimal("0.5"), Decimal(1), "charge:call", "olive"),
        ("release", Decimal("1.5"), Decimal(1), "release:call", "olive"),
    ]
    prepaid.refresh_from_db()
    assert (prepaid.posted, prepaid.held, prepaid.unknown) == (Decimal("9.5"), Decimal(2), Decimal(1))


def test_a_call_becomes_unknown_once(alice: Tenant) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(1), key="call")
    with pytest.raises(IntegrityError):
        in_one(ledger.set_unknown, "lookup:1", Decimal(1), key="call")
    assert Account.objects.get().unknown == 1


# Past balances


def test_a_past_balance_is_one_look_into_an_index(prepaid: Account) -> None:
    query = "SELECT posted_after, held_after FROM billing_entry WHERE account_id = %s AND number = 1"
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {query}", [prepaid.pk])
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute(query, [prepaid.pk])
        assert cursor.fetchone() == (10, 0)
    assert "Index Scan using each_number_of_an_account_is_given_once" in plan
