"""Hashes that were kept elsewhere show that somebody with all rights has written an account anew."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Tenant
from billing import audit, heads, ledger
from billing.heads import Head
from billing.models import Account, Entry
from tests.billing.test_chain import rehash, tamper

# The command takes a snapshot in a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept(tmp_path: Path, prepaid: Account, bob: Tenant) -> Path:
    """What the command printed when Alice's account had two entries; Bob's has none."""
    ledger.grant(prepaid, Decimal(5))
    ledger.account_of(bob, "modash")
    file = tmp_path / "heads"
    file.write_text(audited("--heads"))
    return file


def audited(*arguments: str) -> str:
    out = StringIO()
    call_command("audit_ledger", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def written_anew(number: int) -> None:
    """Alters an entry, and makes all hashes from there to the account's row anew."""
    tamper("UPDATE billing_entry SET memo = 'another' WHERE number = %s", number)
    for following in range(number, Account.objects.get(last_number__gt=0).last_number + 1):
        rehash(following)
        tamper(
            "UPDATE billing_entry AS entry SET previous_hash = before.hash FROM billing_entry AS before "
            "WHERE before.number = %s AND entry.number = before.number + 1",
            following,
        )
    Account.objects.filter(last_number__gt=0).update(last_hash=Entry.objects.latest("number").hash)


def test_the_command_prints_the_end_of_each_account_that_has_entries(kept: Path, prepaid: Account) -> None:
    prepaid.refresh_from_db()
    assert kept.read_text() == f"{prepaid.pk} 2 {bytes(prepaid.last_hash).hex()}\n"


def test_a_ledger_that_went_on_agrees_with_what_was_kept(kept: Path, prepaid: Account) -> None:
    ledger.grant(prepaid, Decimal(1))
    assert audited("--against", str(kept)).startswith("Every balance follows from the ledger's 3 entries")


def test_an_account_that_was_written_anew_is_named(kept: Path, prepaid: Account) -> None:
    ledger.grant(prepaid, Decimal(1))
    written_anew(1)
    assert audit.differences() == []
    assert audit.differences(heads.parse(kept.read_text().splitlines())) == [
        "Alice at modash: entry 2 is another one than when its hash was kept."
    ]
    with pytest.raises(SystemExit):
        audited("--against", str(kept))


def test_what_came_after_is_not_what_was_kept(kept: Path, prepaid: Account) -> None:
    ledger.grant(prepaid, Decimal(1))
    written_anew(3)
    assert audited("--against", str(kept))


def test_an_account_that_is_gone_or_shorter_is_named(kept: Path, prepaid: Account) -> None:
    found = heads.parse(kept.read_text().splitlines())
    gone = Head(account_id=prepaid.tenant_id, number=1, hash=bytes(32))
    longer = Head(account_id=prepaid.pk, number=9, hash=found[0].hash)
    assert audit.differences([*found, longer, gone]) == [
        f"{said} is missing, and was there when its hash was kept."
        for said in sorted([f"{prepaid.tenant_id}: entry 1", "Alice at modash: entry 9"])
    ]


def test_no_heads_are_printed_of_a_ledger_that_differs(kept: Path) -> None:
    tamper("UPDATE billing_entry SET memo = 'another' WHERE number = 1")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("audit_ledger", "--heads", stdout=out, stderr=StringIO())
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "0191e3a0-0000-7000-8000-000000000000 1",
        "0191e3a0-0000-7000-8000-000000000000 one " + 64 * "0",
        "0191e3a0-0000-7000-8000-000000000000 0 " + 64 * "0",
        f"0191e3a0-0000-7000-8000-000000000000 {2**63} " + 64 * "0",
        "0191e3a0-0000-7000-8000-000000000000 1 " + 62 * "0",
        "0191e3a0-0000-7000-8000-000000000000 1 " + 64 * "g",
    ],
)
def test_a_line_that_is_no_head_is_named(kept: Path, line: str) -> None:
    kept.write_text(f"{kept.read_text()}\n{line}\n")
    with pytest.raises(CommandError, match=r"heads: line 3: must be the id of an account, the number of an entry and"):
        audited("--against", str(kept))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere cannot be read: No such file"):
        audited("--against", str(tmp_path / "nowhere"))
    (tmp_path / "picture").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match="picture is no text"):
        audited("--against", str(tmp_path / "picture"))
