from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import F

from accounts.models import Tenant
from billing import audit, ledger
from billing.ledger import Demand
from billing.models import Account, Draw, Hold
from tests.billing.test_ledger import planted

# The command takes a snapshot in a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def ledger_of_alice(alice: Tenant) -> None:
    """10 granted, 4 held, 1 of them charged, 1 unknown; and a lookup that ended."""
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(10))
    demands = [
        Demand(reference=name, tenant_id=alice.pk, provider="modash", amount=Decimal(4)) for name in ("open", "ended")
    ]
    with transaction.atomic():
        ledger.hold(demands)
        ledger.charge("open", Decimal(1), key="call")
        ledger.set_unknown("open", Decimal(1))
        ledger.charge("ended", Decimal("0.5"), key="another call")
        ledger.close("ended")


def audited() -> tuple[int, str, str]:
    """Returns the command's exit code, output and errors."""
    out, error = StringIO(), StringIO()
    try:
        call_command("audit_ledger", stdout=out, stderr=error)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue(), error.getvalue()
    return 0, out.getvalue(), error.getvalue()


def test_the_ledgers_own_entries_add_up() -> None:
    assert audited() == (0, "Every balance follows from the ledger's 7 entries, whose chains are whole.\n", "")


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (lambda: Account.objects.update(posted=F("posted") + 1), "posted is 9.5, the entries say 8.5 (the last is number 7)."),
        (lambda: Account.objects.update(held=F("held") - 1), "held is 2, the entries say 3 (the last is number 7)."),
        (lambda: Account.objects.update(unknown=0), "unknown is 0, the entries say 1 (the last is number 7)."),
        (lambda: Hold.objects.update(open=F("open") + 1), "open: open is 3, the entries say 2 (the last is number 5)."),
        (lambda: Hold.objects.update(unknown=0), "open: unknown is 0, the entries say 1 (the last is number 5)."),
    ],
)  # fmt: skip
def test_any_difference_is_named_and_ends_with_1(plant: Callable[[], object], sentence: str) -> None:
    plant()
    code, out, error = audited()
    assert (code, out) == (1, "")
    assert error == f"Alice at modash: {sentence}\n"


def test_open_and_unknown_are_told_apart() -> None:
    """Their sum is right."""
    Hold.objects.update(open=F("open") + 1, unknown=F("unknown") - 1)
    assert audit.differences() == [
        "Alice at modash: open: open is 3, the entries say 2 (the last is number 5).",
        "Alice at modash: open: unknown is 0, the entries say 1 (the last is number 5).",
    ]


def test_a_hold_that_is_gone_is_named() -> None:
    Draw.objects.all().delete()
    Hold.objects.all().delete()
    assert audit.differences() == [
        "Alice at modash: open: open is 0, the entries say 2 (the last is number 5).",
        "Alice at modash: open: unknown is 0, the entries say 1 (the last is number 5).",
    ]


def test_an_entry_that_moved_no_balance_is_found() -> None:
    planted(Account.objects.get(), kind="hold", amount=2, reference="planted", key="hold:planted")
    assert audit.differences() == [
        "Alice at modash: entry 8 was inserted: the account has not numbered it.",
        "Alice at modash: planted: open is 0, the entries say 2 (the last is number 8).",
        "Alice at modash: in no month: held is 0, the entries say 2.",
    ]


def test_every_account_is_looked_at(bob: Tenant) -> None:
    ledger.account_of(bob, "modash")
    Account.objects.filter(tenant=bob).update(posted=7)
    assert audit.differences() == ["Bob at modash: posted is 7, the entries say 0 (the last is number 0)."]
