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
    """A file that the command wrote when Alice's account had two entries; Bob's has none."""
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
    assert kept.read_text() == f"{prepaid.pk} 2 {bytes(prepaid.last_hash).hex()}\n1 head\n"


def test_a_ledger_that_went_on_agrees_with_what_was_kept(kept: Path, prepaid: Account) -> None:
    ledger.grant(prepaid, Decimal(1))
    assert audited("--against", str(kept)) == (
        "Every balance follows from the ledger's 3 entries, whose chains are whole.\n"
        "The ledger still has what was kept: 1 head agreed.\n"
    )


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
        "0191e3a0-0000-7000-8000-000000000000 ٣ " + 64 * "0",
        "0191e3a0-0000-7000-8000-000000000000 1_0 " + 64 * "0",
        f"0191e3a0-0000-7000-8000-000000000000 {2**63} " + 64 * "0",
        "0191e3a0-0000-7000-8000-000000000000 1 " + 62 * "0",
        "0191e3a0-0000-7000-8000-000000000000 1 " + 64 * "g",
    ],
)
def test_a_line_that_is_no_head_is_named(kept: Path, line: str) -> None:
    kept.write_text(f"{line}\n{kept.read_text()}")
    refused(
        kept,
        "has a wrong line 1, which must be an account's id, an entry's number and its hash, as `audit_ledger --heads` ",
    )
    kept.write_text(line)
    refused(kept, "has a wrong line 1, ")


def test_a_byte_order_mark_in_front_changes_no_head(kept: Path) -> None:
    kept.write_text("\ufeff" + kept.read_text())
    assert "agreed" in audited("--against", str(kept))


def refused(kept: Path, said: str) -> None:
    with pytest.raises(CommandError) as refusal:
        audited("--against", str(kept))
    assert str(refusal.value).startswith(f"--against: {kept} {said}")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_what_an_audit_that_failed_left_is_refused(kept: Path, text: str) -> None:
    kept.write_text(text)
    refused(kept, "has no heads; it was written by an audit that failed, or cut off.")


def test_a_file_that_was_cut_off_anywhere_is_refused(kept: Path, alice: Tenant) -> None:
    ledger.grant(ledger.account_of(alice, "keyapi"), Decimal(5))
    text = audited("--heads")
    first, second, count = text.splitlines()
    kept.write_text(f"{first}\n{second}\n")
    refused(kept, "does not end with the count of its heads; it was cut off or altered.")
    kept.write_text(f"{first}\n{count}\n")
    refused(kept, "says '2 heads' at its end and has 1; it was cut off or altered.")
    kept.write_text(f"{count}\n{first}\n{second}\n")
    refused(kept, "has a wrong line 1, ")
    for end in range(len(text.rstrip()) - 1):
        kept.write_text(text[:end])
        with pytest.raises(CommandError):
            audited("--against", str(kept))


def test_a_ledger_without_entries_keeps_that_it_has_no_heads(tmp_path: Path) -> None:
    (tmp_path / "heads").write_text(audited("--heads"))
    assert (tmp_path / "heads").read_text() == "0 heads\n"
    assert audited("--against", str(tmp_path / "heads")).endswith(" 0 heads agreed.\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere cannot be read: No such file"):
        audited("--against", str(tmp_path / "nowhere"))
    (tmp_path / "picture").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match="picture is no text"):
        audited("--against", str(tmp_path / "picture"))
    (tmp_path / "picture").write_bytes(b"\x00\x01\n\x02")
    with pytest.raises(CommandError, match="picture has a wrong line 1, which must be an account's id"):
        audited("--against", str(tmp_path / "picture"))
