"""The ledger is audited once a day, and the outcome is kept where operators see it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts import clock
from accounts.models import Tenant
from billing import daily_audit, ledger
from billing.models import Account, LedgerAudit
from tests.racing import at_once


@pytest.fixture
def account(alice: Tenant) -> Account:
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(100))
    return account


def test_an_audit_of_a_whole_ledger_passes(account: Account) -> None:
    daily_audit.run_if_due()
    audit = LedgerAudit.objects.get()
    assert (audit.outcome, audit.entries, audit.sentences) == ("passed", 1, [])


def test_an_audit_keeps_a_sentence_for_each_difference(account: Account) -> None:
    Account.objects.update(posted=Decimal(99))
    daily_audit.run_if_due()
    audit = LedgerAudit.objects.get()
    assert (audit.outcome, audit.differences) == ("failed", len(audit.sentences))
    assert "Alice at modash" in audit.sentences[0]


def test_a_day_has_one_audit(account: Account) -> None:
    daily_audit.run_if_due()
    Account.objects.update(posted=Decimal(99))
    daily_audit.run_if_due()
    assert LedgerAudit.objects.get().outcome == "passed"
    LedgerAudit.objects.update(day=clock.now().date() - timedelta(days=1))
    daily_audit.run_if_due()
    assert [audit.outcome for audit in LedgerAudit.objects.order_by("day")] == ["passed", "failed"]


def test_an_audit_whose_worker_ended_is_begun_anew(account: Account) -> None:
    moment = clock.now()
    LedgerAudit.objects.create(day=moment.date(), started_at=moment - timedelta(hours=1))
    daily_audit.run_if_due()
    assert LedgerAudit.objects.get().outcome == "not finished"
    LedgerAudit.objects.update(started_at=moment - timedelta(hours=3))
    daily_audit.run_if_due()
    assert LedgerAudit.objects.get().outcome == "passed"


@pytest.mark.django_db(transaction=True)
def test_two_that_audit_at_once_make_one_audit(account: Account) -> None:
    at_once([daily_audit.run_if_due] * 4)
    assert LedgerAudit.objects.get().outcome == "passed"
