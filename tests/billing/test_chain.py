"""The chain of an account names the first entry that was altered, missing or inserted, also with the trigger switched off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Tenant
from billing import audit, ledger
from billing.models import Account, Entry
from tests.billing.test_ledger import adjust, hold, in_one, planted

COLUMNS = {
    "amount": "amount + 0.000001",
    "kind": "CASE kind WHEN 'charge' THEN 'release' ELSE 'charge' END",
    "posted_after": "posted_after + 1",
    "held_after": "held_after + 1",
    "unknown_after": "unknown_after + 1",
    "reference": "reference || 'x'",
    "key": "key || 'x'",
    "memo": "memo || 'x'",
    "person": "person || 'x'",
    "month": "coalesce(month, '2026-01-01') + 31",
    "spender": "gen_random_uuid()",
    "budget": "budget || 'x'",
    "created_at": "created_at + interval '1 microsecond'",
    "id": "gen_random_uuid()",
    "hash": "sha256(hash)",
    "previous_hash": "sha256(previous_hash)",
}
# A number and an account are an entry's place. What is there then is missing or too much.
PLACES = {"number", "account_id"}
LAST = 7


@pytest.fixture(autouse=True)
def seven_entries(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 4)
    in_one(ledger.charge, "lookup:1", Decimal("0.5"), key="call")
    in_one(ledger.set_unknown, "lookup:1", Decimal(1))
    adjust(prepaid, Decimal(1))
    in_one(ledger.close, "lookup:1")
    ledger.grant(prepaid, Decimal(3), memo='„Größe“ "5"\n\\ \x1f\x7f 図', person="o'live")
    assert audit.differences() == []
    assert Account.objects.get().last_number == LAST


def tamper(statement: str, *values: Any) -> None:
    """Changes the entries as somebody would who can switch the trigger off."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_entry DISABLE TRIGGER USER")
        cursor.execute(statement, values)
        cursor.execute("ALTER TABLE billing_entry ENABLE TRIGGER USER")


def rehash(number: int) -> None:
    tamper("UPDATE billing_entry AS entry SET hash = billing_entry_hash(entry) WHERE number = %s", number)


def found() -> str:
    """Returns the first sentence of the audit, without the account that it begins with."""
    return audit.differences()[0].removeprefix("Alice at modash: ")


def test_a_hash_can_be_recomputed_by_anybody() -> None:
    account = Account.objects.get()
    whose = [str(account.pk), str(account.tenant_id), account.provider]
    previous = hashlib.sha256(json.dumps(whose).encode()).digest()
    for entry in Entry.objects.order_by("number"):
        amounts = (entry.amount, entry.posted_after, entry.held_after, entry.unknown_after)
        says = [
            *(previous.hex(), str(entry.pk), str(entry.account_id), entry.number, entry.kind, *map(str, amounts)),
            *(entry.reference, entry.key, entry.memo, entry.person),
            entry.month and entry.month.isoformat(),
            entry.spender and str(entry.spender),
            entry.budget,
            entry.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        ]
        previous = hashlib.sha256(json.dumps(says, ensure_ascii=False).encode()).digest()
        assert entry.hash == previous
    assert Account.objects.get().last_hash == previous


def test_a_hash_does_not_depend_on_the_sessions_time_zone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL DateStyle = 'German'")
    assert audit.differences() == []


def test_every_column_is_in_the_chain() -> None:
    assert {*COLUMNS, *PLACES} == {field.column for field in Entry._meta.concrete_fields}


@pytest.mark.parametrize("number", [1, 3, LAST])
@pytest.mark.parametrize("column", COLUMNS)
def test_an_altered_entry_is_named(column: str, number: int) -> None:
    tamper(f"UPDATE billing_entry SET {column} = {COLUMNS[column]} WHERE number = %s", number)
    assert found() == f"entry {number} was altered: its hash is not that of what it says."


@pytest.mark.parametrize("column", [column for column in COLUMNS if "hash" not in column])
def test_an_altered_entry_that_was_hashed_anew_is_named(column: str) -> None:
    tamper(f"UPDATE billing_entry SET {column} = {COLUMNS[column]} WHERE number = 3")
    rehash(3)
    assert found().startswith(("entry 3 was altered: the next one", "after entry 3 "))


def test_an_altered_last_entry_that_was_hashed_anew_is_named() -> None:
    tamper("UPDATE billing_entry SET memo = 'another' WHERE number = %s", LAST)
    rehash(LAST)
    assert found() == f"entry {LAST} was altered: the account ends with another hash."


@pytest.mark.parametrize("number", [1, 3, LAST])
def test_an_entry_with_another_number_is_named(number: int) -> None:
    tamper("UPDATE billing_entry SET number = number + 10 WHERE number = %s", number)
    assert found() == f"entry {number} is missing."


@pytest.mark.parametrize("number", [1, 3, LAST])
def test_an_entry_that_was_given_to_another_account_is_named(bob: Tenant, number: int) -> None:
    other = ledger.account_of(bob, "modash")
    tamper("UPDATE billing_entry SET account_id = %s WHERE number = %s", other.pk, number)
    assert [said.split(":")[0] for said in audit.differences()[:2]] == ["Alice at modash", "Bob at modash"]
    assert found().startswith(f"entry {number} is missing")


@pytest.mark.parametrize("number", range(1, LAST))
def test_a_missing_entry_is_named(number: int) -> None:
    tamper("DELETE FROM billing_entry WHERE number = %s", number)
    assert found() == f"entry {number} is missing."


def test_entries_that_were_cut_off_are_named() -> None:
    tamper("DELETE FROM billing_entry WHERE number >= 5")
    assert found() == f"entry 5 is missing: the account has numbered {LAST}."


def test_an_account_without_its_entries_is_named() -> None:
    tamper("TRUNCATE billing_entry")
    assert found() == f"entry 1 is missing: the account has numbered {LAST}."


def test_an_entry_behind_the_last_is_named() -> None:
    planted(Account.objects.get(), kind="grant", amount=1, key="grant:x")
    assert found() == f"entry {LAST + 1} was inserted: the account has not numbered it."


RENUMBER = (
    "UPDATE billing_entry SET number = -number - {by} WHERE number {where}",
    "UPDATE billing_entry SET number = -number WHERE number < 0",
)


def moved(by: int, where: str) -> None:
    tamper("ALTER TABLE billing_entry DROP CONSTRAINT billing_entry_number_check")
    for statement in RENUMBER:
        tamper(statement.format(by=by, where=where))


def test_an_entry_between_two_is_named() -> None:
    account = Account.objects.get()
    before = Entry.objects.get(number=3)
    moved(1, "> 3")
    Account.objects.update(last_number=LAST + 1)
    account.last_number, account.last_hash = 3, before.hash
    after = {"posted_after": before.posted_after + 1, "held_after": before.held_after, "unknown_after": 0}
    planted(account, kind="grant", amount=1, key="grant:x", **after)
    rehash(4)
    assert found() == "entry 4 was inserted: the next one was written before it."


def test_a_missing_entry_whose_followers_were_renumbered_is_named() -> None:
    tamper("DELETE FROM billing_entry WHERE number = 3")
    moved(-1, "> 3")
    Account.objects.update(last_number=LAST - 1)
    assert found() == "entry 3 was altered: its hash is not that of what it says."


def test_a_balance_that_does_not_follow_is_named_though_all_hashes_are_good() -> None:
    """Somebody wrote the account anew from entry 6 on, and gave themselves a credit."""
    tamper("UPDATE billing_entry SET posted_after = posted_after + 1 WHERE number >= 6")
    rehash(6)
    tamper(
        "UPDATE billing_entry SET previous_hash = (SELECT hash FROM billing_entry WHERE number = 6) WHERE number = 7"
    )
    rehash(7)
    Account.objects.update(posted=Entry.objects.get(number=7).posted_after, last_hash=Entry.objects.get(number=7).hash)
    assert found() == "after entry 6 posted is 11.5, the entries say 10.5."


@pytest.mark.parametrize("column", ["tenant_id", "provider"])
def test_an_account_that_was_given_to_another_is_named(bob: Tenant, column: str) -> None:
    Account.objects.update(**{column: bob.pk if column == "tenant_id" else "memories"})
    assert audit.differences()[0].endswith(
        ": entry 1 was written for another tenant or provider: the account was altered, or the entry."
    )


def test_a_first_entry_that_was_hashed_anew_for_another_account_is_named() -> None:
    tamper("UPDATE billing_entry SET previous_hash = sha256('') WHERE number = 1")
    rehash(1)
    assert found().startswith("entry 1 was written for another tenant or provider")


def test_an_account_of_another_kind_is_named(bob: Tenant) -> None:
    Account.objects.update(kind=Account.Kind.METERED)
    ledger.account_of(bob, "modash")
    Account.objects.filter(tenant=bob).update(kind=Account.Kind.PREPAID)
    assert audit.differences() == [
        "Alice at modash: the account is metered, though entry 1 granted it credits.",
        "Bob at modash: the account is prepaid, though no entry granted it credits.",
    ]


def test_each_account_has_a_chain_of_its_own(alice: Tenant, bob: Tenant) -> None:
    ledger.grant(ledger.account_of(bob, "modash"), Decimal(1))
    tamper("UPDATE billing_entry SET memo = 'x' WHERE number = 1")
    assert [said.split(" was")[0] for said in audit.differences()] == [
        "Alice at modash: entry 1",
        "Bob at modash: entry 1",
    ]


CHANGES: list[Callable[[], object]] = [
    lambda: tamper("UPDATE billing_entry SET memo = 'x' WHERE number IN (2, 5)"),
    lambda: tamper("DELETE FROM billing_entry WHERE number = 2 OR number = 5"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_first_of_several_is_named(change: Callable[[], object]) -> None:
    change()
    assert found().startswith("entry 2 ")
