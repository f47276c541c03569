"""Accounts that pay."""

from __future__ import annotations

from decimal import Decimal

import pytest

from accounts.models import Tenant
from billing import ledger
from billing.models import Account


@pytest.fixture
def prepaid(alice: Tenant) -> Account:
    """Alice's account, with 10 credits."""
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(10))
    return account
