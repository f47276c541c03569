"""Movements of credits: every balance follows from the entries, and nothing is overspent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from functools import partial
from typing import Any, ParamSpec, TypeVar

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from hypothesis import strategies as st

from accounts.models import Tenant
from billing import audit, ledger
from billing.caps import LimitReached
from billing.ledger import Demand, Tally
from billing.models import Account, Entry, Hold
from tests.racing import at_once

T = TypeVar("T")
P = ParamSpec("P")
CREDITS = st.decimals(min_value="0.000001", max_value="40", places=6)
SOME = st.decimals(min_value="-40", max_value="40", places=6)


def hold(tenant: Tenant, amount: Decimal | int | str, reference: str = "lookup:1", provider: str = "modash") -> None:
    with transaction.atomic():
        ledger.hold([demand(tenant, amount, reference, provider)])


def demand(tenant: Tenant, amount: Decimal | int | str, reference: str, provider: str = "modash") -> Demand:
    return Demand(reference=reference, tenant_id=tenant.pk, provider=provider, amount=Decimal(amount))


def in_one(move: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Moves credits in a transaction, as the callers do that hold the lookup's row."""
    with transaction.atomic():
        return move(*arguments, **named)


def adjust(account: Account, amount: Decimal | int | str, *, key: str = "") -> None:
    """Adjusts for a reason, by somebody, something."""
    ledger.adjust(account, Decimal(amount), memo="by hand", person="olive", corrects="1", key=key)


def balance(tenant: Tenant, provider: str = "modash") -> tuple[Any, Any]:
    """Returns the credits posted and held."""
    account = Account.objects.get(tenant=tenant, provider=provider)
    return account.posted, account.held


def tally(reference: str = "lookup:1") -> Tally:
    return ledger.tallies([reference])[reference]


# Holding


def test_a_hold_sets_aside_the_most_that_a_lookup_can_cost(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    assert (balance(alice), tally()) == ((10, 4), Tally(held=Decimal(4)))
    prepaid.refresh_from_db()
    assert prepaid.available == 6


def test_a_hold_may_take_the_last_credit_but_no_more(alice: Tenant, prepaid: Account) -> None:
    hold(alice, "9.999999")
    hold(alice, "0.000001", "lookup:2")
    with pytest.raises(LimitReached) as caught:
        hold(alice, "0.000001", "lookup:3")
    assert (caught.value.code, caught.value.limit.asked) == ("insufficient_credits", Decimal("0.000001"))
    assert caught.value.limit.left == 0
    assert balance(alice) == (10, 10)


def test_a_search_is_held_whole_or_not_at_all(alice: Tenant, prepaid: Account) -> None:
    demands = [
        demand(alice, 1, "lookup:1", "memories"),
        demand(alice, 6, "lookup:2"),
        demand(alice, 6, "lookup:3"),
    ]
    with pytest.raises(LimitReached):
        in_one(ledger.hold, demands)
    assert not Hold.objects.exists()
    assert balance(alice) == (10, 0)
    assert audit.differences() == []


def test_a_lookup_is_held_for_once(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 1)
    with pytest.raises(IntegrityError):
        hold(alice, 1)
    assert balance(alice) == (10, 1)


def test_a_metered_account_counts_and_needs_no_balance(alice: Tenant) -> None:
    hold(alice, 1000)
    in_one(ledger.charge, "lookup:1", Decimal(600), key="call")
    in_one(ledger.close, "lookup:1")
    assert balance(alice) == (-600, 0)
    assert Account.objects.get().available is None


def test_one_tenants_credits_are_no_others(alice: Tenant, bob: Tenant, prepaid: Account) -> None:
    ledger.grant(ledger.account_of(bob, "modash"), Decimal(1))
    with pytest.raises(LimitReached):
        hold(bob, 2)
    assert balance(alice) == (10, 0)


@pytest.mark.django_db(transaction=True)
def test_fifty_holds_at_once_succeed_as_far_as_there_is_room(alice: Tenant) -> None:
    ledger.grant(ledger.account_of(alice, "modash"), Decimal(37))

    def held(number: int) -> bool:
        try:
            hold(alice, 1, f"lookup:{number}")
        except LimitReached:
            return False
        return True

    assert sum(at_once([partial(held, number) for number in range(50)])) == 37
    assert balance(alice) == (37, 37)
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_holds_with_several_providers_do_not_lock_each_other_out(alice: Tenant) -> None:
    def both(number: int) -> None:
        providers = ("modash", "memories") if number % 2 else ("memories", "modash")
        demands = [demand(alice, 1, f"lookup:{number}:{provider}", provider) for provider in providers]
        in_one(ledger.hold, demands)

    at_once([partial(both, number) for number in range(20)])
    assert balance(alice, "modash") == balance(alice, "memories") == (0, 20)


# Releasing, and unknown outcomes


def test_a_release_gives_back_what_was_not_spent_and_forgets_the_hold(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.charge, "lookup:1", Decimal(1), key="call")
    for _ in range(2):
        in_one(ledger.close, "lookup:1")
    assert (balance(alice), tally()) == ((9, 0), Tally(charged=Decimal(1)))
    assert not Hold.objects.exists()
    assert Entry.objects.filter(kind="release").count() == 1


def test_an_unknown_part_stays_held(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    assert in_one(ledger.charge, "lookup:1", Decimal(9), key="call") == 3
    in_one(ledger.close, "lookup:1")
    assert (balance(alice), tally()) == ((7, 1), Tally(charged=Decimal(3), unknown=Decimal(1)))


def test_no_more_becomes_unknown_than_is_open(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(5))
    assert tally() == Tally(unknown=Decimal(4))


@pytest.mark.parametrize(("charged", "posted"), [("0", "10"), ("0.25", "9.75"), ("1", "9")])
def test_an_unknown_outcome_is_settled_to_the_credit(
    alice: Tenant, prepaid: Account, charged: str, posted: str
) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    in_one(ledger.close, "lookup:1")
    ledger.settle("lookup:1", charged=Decimal(charged))
    assert (balance(alice), tally()) == ((Decimal(posted), 0), Tally(charged=Decimal(charged)))
    assert not Hold.objects.exists()
    assert audit.differences() == []


def test_one_of_two_unknown_calls_can_be_settled(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    for _ in range(2):
        in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    ledger.settle("lookup:1", amount=Decimal(1), charged=Decimal("0.5"))
    assert tally() == Tally(held=Decimal(2), charged=Decimal("0.5"), unknown=Decimal(1))


@pytest.mark.parametrize("charged", ["-0.000001", "1.000001", "NaN", "Infinity", "0.0000001"])
def test_no_more_is_settled_than_is_unknown(alice: Tenant, prepaid: Account, charged: str) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    with pytest.raises(ValueError, match=r"^charged: "):
        ledger.settle("lookup:1", charged=Decimal(charged))
    assert tally() == Tally(held=Decimal(3), unknown=Decimal(1))


def test_a_settled_outcome_is_not_settled_again(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    ledger.settle("lookup:1", charged=Decimal("0.5"))
    for charged in (0, 1):
        with pytest.raises(ValueError, match=r"^charged: nothing of this lookup is unknown"):
            ledger.settle("lookup:1", charged=Decimal(charged))
    assert (balance(alice), tally()) == ((Decimal("9.5"), 3), Tally(held=Decimal(3), charged=Decimal("0.5")))


@pytest.mark.django_db(transaction=True)
def test_one_of_two_operators_who_settle_one_unknown_succeeds(alice: Tenant) -> None:
    hold(alice, 4)
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))

    def settled(charged: str) -> str:
        try:
            ledger.settle("lookup:1", charged=Decimal(charged), person=f"who says {charged}")
        except ValueError as error:
            return str(error)
        return charged

    charged, refused = sorted(at_once([partial(settled, charged) for charged in ("0.25", "0.75")]))
    assert refused == "charged: nothing of this lookup is unknown; it may have been settled a moment ago."
    assert balance(alice) == (-Decimal(charged), 3)
    assert Entry.objects.get(kind="charge").person == f"who says {charged}"
    assert audit.differences() == []


def test_a_lookup_that_asks_again_takes_a_second_hold_if_there_is_room(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 6)
    in_one(ledger.set_unknown, "lookup:1", Decimal(6))
    assert not in_one(ledger.hold_more, "lookup:1", Decimal(6), key="call")
    assert in_one(ledger.hold_more, "lookup:1", Decimal(4), key="call")
    assert (balance(alice), tally()) == ((10, 10), Tally(held=Decimal(4), unknown=Decimal(6)))
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_settling_by_hand_and_asking_again_do_not_lock_each_other_out(alice: Tenant) -> None:
    hold(alice, 100)
    in_one(ledger.set_unknown, "lookup:1", Decimal(50))

    def ask_again(number: int) -> None:
        in_one(ledger.hold_more, "lookup:1", Decimal(1), key=str(number))

    def settle(_: int) -> None:
        ledger.settle("lookup:1", amount=Decimal(1), charged=Decimal(1))

    at_once([partial(move, number) for move in (ask_again, settle) for number in range(12)])
    assert tally() == Tally(held=Decimal(62), charged=Decimal(12), unknown=Decimal(38))
    assert audit.differences() == []


# Granting and adjusting


def test_the_first_grant_makes_an_account_prepaid(alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    assert account.kind == "metered"
    ledger.grant(account, Decimal(10), memo="a first order")
    assert account.kind == "prepaid"
    account.refresh_from_db()
    assert account.posted == account.available == 10
    assert Entry.objects.get().memo == "a first order"


def test_use_while_metered_is_settled_on_the_record(alice: Tenant) -> None:
    hold(alice, 6)
    in_one(ledger.charge, "lookup:1", Decimal(2), key="call")
    ledger.grant(ledger.account_of(alice, "modash"), Decimal(10))
    assert Account.objects.get().available == 10
    assert [entry.amount for entry in Entry.objects.filter(kind="adjustment")] == [6]
    in_one(ledger.close, "lookup:1")
    assert Account.objects.get().available == 14
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_many_first_grants_at_once_are_all_counted(alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    hold(alice, 5)
    at_once([partial(ledger.grant, ledger.account_of(alice, account.provider), Decimal(1)) for _ in range(10)])
    assert Account.objects.get().available == 10
    assert Entry.objects.filter(kind="adjustment").count() == 1
    assert audit.differences() == []


def test_an_operation_that_is_repeated_counts_once(alice: Tenant, prepaid: Account) -> None:
    for move in (ledger.grant, adjust):
        move(prepaid, Decimal(1), key=str(move))
        with pytest.raises(IntegrityError), transaction.atomic():
            move(prepaid, Decimal(1), key=str(move))
    assert balance(alice) == (12, 0)


def test_an_adjustment_takes_what_is_available_and_no_more(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    adjust(prepaid, Decimal(-6))
    with pytest.raises(ValueError, match=r"^amount: .*below zero"):
        adjust(prepaid, Decimal("-0.000001"))
    assert balance(alice) == (4, 4)


@pytest.mark.django_db(transaction=True)
def test_an_adjustment_whose_entry_is_refused_moves_nothing(alice: Tenant, prepaid: Account) -> None:
    adjust(prepaid, Decimal(1), key="slip-7")
    with pytest.raises(IntegrityError):
        adjust(prepaid, Decimal(1), key="slip-7")
    assert balance(alice) == (11, 0)


def test_a_metered_account_may_be_adjusted_below_zero(alice: Tenant) -> None:
    hold(alice, 1)
    adjust(ledger.account_of(alice, "modash"), Decimal(-5))
    assert balance(alice) == (-5, 1)


@pytest.mark.parametrize(
    "amount", ["0", "-1", "0.0000001", "1.2345678", "1000000000.000001", "1e30", "NaN", "Infinity"]
)
def test_a_grant_that_the_columns_cannot_hold_is_refused(alice: Tenant, amount: str) -> None:
    account = ledger.account_of(alice, "modash")
    with pytest.raises(ValueError, match=r"^amount: "):
        ledger.grant(account, Decimal(amount))
    assert Account.objects.get().kind == "metered"
    assert not Entry.objects.exists()


@pytest.mark.parametrize("amount", ["0", "0.0000005", "-1e12", "NaN", "-Infinity"])
def test_an_adjustment_that_the_columns_cannot_hold_is_refused(alice: Tenant, amount: str) -> None:
    with pytest.raises(ValueError, match=r"^amount: "):
        adjust(ledger.account_of(alice, "modash"), Decimal(amount))
    assert balance(alice) == (0, 0)


# The record


@pytest.mark.parametrize("statement", ["UPDATE billing_entry SET amount = 0", "DELETE FROM billing_entry"])
def test_the_database_refuses_to_change_an_entry(prepaid: Account, statement: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Entry.objects.get().amount == 10


def test_django_cannot_change_an_entry_either(prepaid: Account) -> None:
    entry = Entry.objects.get()
    entry.amount = Decimal(11)
    raised = partial(Entry.objects.update, amount=F("amount") + 1)
    changes: list[Callable[[], Any]] = [entry.save, entry.delete, Entry.objects.all().delete, raised]
    for change in changes:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


@pytest.mark.parametrize(
    ("model", "change", "sentence"),
    [
        (Account, {"posted": -1}, "prepaid_account_never_below_zero"),
        (Account, {"held": -1}, "held_never_negative"),
        (Account, {"held": 11}, "prepaid_account_never_below_zero"),
        (Account, {"unknown": -1}, "unknown_is_a_part_of_what_is_held"),
        (Account, {"unknown": 5}, "unknown_is_a_part_of_what_is_held"),
        (Hold, {"open": -1}, "nothing_spent_above_what_was_held"),
        (Hold, {"unknown": -1}, "nothing_spent_above_what_was_held"),
    ],
)
def test_the_database_keeps_the_invariants_by_itself(
    alice: Tenant, prepaid: Account, model: Any, change: dict[str, int], sentence: str
) -> None:
    hold(alice, 4)
    with pytest.raises(IntegrityError, match=sentence), transaction.atomic():
        model.objects.update(**change)


def planted(account: Account, **values: Any) -> Entry:
    """Writes an entry past the ledger."""
    after = {"posted_after": account.posted, "held_after": account.held, "unknown_after": account.unknown}
    last = {"number": account.last_number + 1, "previous_hash": account.last_hash, "hash": b"none"}
    return Entry.objects.create(account=account, **after | last | values)


def test_only_adjustments_and_unknowns_may_be_negative(prepaid: Account) -> None:
    with pytest.raises(IntegrityError, match="only_adjustments_and_unknowns_may_be_negative"):
        planted(prepaid, kind="charge", amount=-1, key="charge:x")


@pytest.mark.parametrize("missing", ["memo", "person", "reference"])
def test_the_database_wants_a_reason_a_person_and_an_object_of_a_correction(prepaid: Account, missing: str) -> None:
    complete = {"memo": "a slip", "person": "olive", "reference": "entry:1"}
    with pytest.raises(IntegrityError, match="a_correction_says_why_who_and_what"):
        planted(prepaid, kind="adjustment", amount=-1, key="adjustment:x", **complete | {missing: ""})


def test_tallies_take_one_query_however_many_lookups_there_are(
    alice: Tenant, django_assert_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    for number in range(5):
        hold(alice, 1, f"lookup:{number}")
    with django_assert_num_queries(1):
        found = ledger.tallies([f"lookup:{number}" for number in range(6)])
    assert [found[f"lookup:{number}"].held for number in range(6)] == [1, 1, 1, 1, 1, 0]
