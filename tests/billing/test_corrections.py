"""A correction says why it was made, who made it and what it corrects, in the ledger and by command."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from accounts.models import Tenant
from billing import audit, ledger
from billing.management.commands import adjust_credits
from billing.models import Account, Entry
from tests.billing.test_ledger import hold, in_one

CALL, LOOKUP, STRANGER = UUID(int=7), UUID(int=8), UUID(int=9)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def a_charge(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4, f"lookup:{LOOKUP}")
    in_one(ledger.close, f"lookup:{LOOKUP}", Decimal(1), key=str(CALL))


def adjust(*words: str, **options: Any) -> str:
    said = StringIO()
    given = {"memo": "billed twice", "person": "Olive", "corrects": "3"} | options
    call_command("adjust_credits", *words, stdout=said, **given)
    return said.getvalue()


@pytest.mark.parametrize(
    ("corrects", "reference"),
    [
        ("3", "entry:3"),
        (f"lookup:{LOOKUP}", f"lookup:{LOOKUP}"),
        (f" call:{str(CALL).upper()} ", f"call:{CALL}"),
    ],
)
def test_a_correction_names_an_entry_a_lookup_or_a_call(corrects: str, reference: str) -> None:
    assert adjust("Alice", "modash", "0.5", corrects=corrects) == "Alice has 9.5 credits available at modash.\n"
    entry = Entry.objects.get(kind="adjustment")
    assert (entry.reference, entry.memo, entry.person) == (reference, "billed twice", "Olive")
    assert audit.differences() == []


@pytest.mark.parametrize("amount", ["-2.5", "-25e-1", "-.25E+1", "-0.025e2"])
def test_a_negative_amount_needs_no_dashes_before_it(monkeypatch: pytest.MonkeyPatch, amount: str) -> None:
    monkeypatch.setattr(connections, "close_all", lambda: None)  # a command closes them at its end
    told = ["--memo", "Billed twice.", "--person", "Olive", "--corrects", "3"]
    adjust_credits.Command(stdout=StringIO()).run_from_argv(
        ["manage.py", "adjust_credits", "Alice", "modash", amount, *told]
    )
    assert Entry.objects.get(kind="adjustment").amount == Decimal("-2.5")


def test_a_correction_of_a_lookup_is_no_charge_of_it() -> None:
    adjust("Alice", "modash", "-0.5", corrects=f"lookup:{LOOKUP}")
    assert ledger.tallies([f"lookup:{LOOKUP}"])[f"lookup:{LOOKUP}"].charged == 1


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("memo", " ", "memo: say why the balance is corrected"),
        ("memo", "x" * 201, "memo: must have at most 200 characters."),
        ("person", "", "person: say who corrects the balance."),
        ("person", "x" * 151, "person: must have at most 150 characters."),
        ("corrects", "", "corrects: name an entry of this account by its number"),
        ("corrects", "0", "corrects: name an entry of this account by its number"),
        ("corrects", "9" * 30, "corrects: name an entry of this account by its number"),
        ("corrects", "99", "corrects: this account has no entry 99;"),
        ("corrects", f"lookup:{STRANGER}", "corrects: this account has no entry of that lookup;"),
        ("corrects", f"call:{STRANGER}", "corrects: this account has no entry of that call;"),
        ("corrects", "call:" + "-" * 36, "corrects: this account has no entry of that call;"),
        ("corrects", f"search:{LOOKUP}", "corrects: name an entry of this account by its number"),
    ],
)
def test_what_a_correction_lacks_is_named_and_nothing_moves(option: str, value: str, sentence: str) -> None:
    with pytest.raises(CommandError) as caught:
        adjust("Alice", "modash", "0.5", **{option: value})
    assert str(caught.value).startswith(sentence)
    assert not Entry.objects.filter(kind="adjustment").exists()


@pytest.mark.parametrize("corrects", ["3", f"lookup:{LOOKUP}", f"call:{CALL}"])
def test_an_entry_of_another_account_is_not_corrected(corrects: str, bob: Tenant) -> None:
    ledger.grant(ledger.account_of(bob, "modash"), Decimal(1))
    with pytest.raises(CommandError, match="this account has no entry"):
        adjust("Bob", "modash", "0.5", corrects=corrects)


def test_the_amount_is_checked_as_everywhere() -> None:
    for amount, sentence in (("0", "must not be 0"), ("-9.000001", "below zero"), ("a lot", "a number of credits")):
        with pytest.raises(CommandError, match=sentence):
            adjust("Alice", "modash", amount)


def test_a_metered_account_says_what_it_has_posted(alice: Tenant) -> None:
    hold(alice, 1, "lookup:other", "keyapi")
    assert adjust("Alice", "keyapi", "-2", corrects="1") == "Alice has -2 credits posted at keyapi.\n"


def test_what_was_used_before_an_account_was_prepaid_is_a_correction_too(alice: Tenant) -> None:
    hold(alice, 2, "lookup:other", "keyapi")
    ledger.grant(ledger.account_of(alice, "keyapi"), Decimal(5))
    entry = Entry.objects.get(kind="adjustment")
    assert (entry.amount, entry.reference, entry.person) == (Decimal(2), "entry:2", "Sightline")
    assert Account.objects.get(provider="keyapi").available == 5
