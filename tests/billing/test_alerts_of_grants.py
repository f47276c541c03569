"""A share of a grant is announced by the movement that reaches it."""

from __future__ import annotations

from decimal import Decimal

from accounts.models import Tenant
from billing import grants, ledger
from billing.models import Account, Entry
from tests.billing.passing import expires_in, has_ended
from tests.billing.test_alerts import charge, endpoint, shares, told
from tests.billing.test_caps import hold
from tests.billing.test_ledger import adjust, in_one

__all__ = ["endpoint"]


def test_a_grant_is_announced_as_it_is_used_up(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 10, "lookup:1")
    charge(4)
    assert told(alice) == []
    charge(2)
    granted = Entry.objects.get(kind="grant")
    assert told(alice) == [
        {
            "provider": "modash",
            "limit": "grant",
            "api_key_id": None,
            "share": 50,
            "size": "10",
            "used": "6",
            "held": "4",
            "left": "0",
            "period_start": granted.created_at.isoformat().replace("+00:00", "Z"),
            "renews_at": None,
        }
    ]
    charge(4)
    assert shares(alice, "grant") == [50, 80, 100]


def test_the_next_grant_begins_anew(alice: Tenant, prepaid: Account) -> None:
    hold(alice, 10, "lookup:1")
    charge(5)
    ledger.grant(prepaid, Decimal(4))
    charge(3)
    assert shares(alice, "grant") == [50]
    charge(2)
    for _ in range(2):
        adjust(prepaid, -2)
    assert [(data["share"], data["size"], data["used"]) for data in told(alice)] == [
        (50, "10", "5"),
        (50, "4", "2"),
        (80, "4", "4"),
        (100, "4", "4"),
    ]


def test_a_correction_reaches_a_share_of_a_grant_once(alice: Tenant, prepaid: Account) -> None:
    for amount in (-5, 5, -5):
        adjust(prepaid, amount)
    assert shares(alice, "grant") == [50]


def test_an_expiry_reaches_the_shares_of_a_grant(alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(10), expires_at=expires_in(days=1))
    hold(alice, 1, "lookup:1")
    has_ended(1)
    assert grants.expire(account.pk) == 1
    assert shares(alice, "grant") == [50, 80]
    in_one(ledger.close, "lookup:1")
    assert [(data["share"], data["used"], data["left"]) for data in told(alice)][2:] == [(100, "10", "0")]


def test_a_hold_that_enters_an_expiry_announces_what_that_reaches(alice: Tenant, prepaid: Account) -> None:
    ledger.grant(prepaid, Decimal(20), expires_at=expires_in(days=1))
    has_ended(2)
    hold(alice, 1, "lookup:1")
    assert [(data["share"], data["size"], data["used"], data["held"]) for data in told(alice)] == [
        (50, "20", "10", "0")
    ]


def test_a_metered_account_has_no_grant_to_announce(alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    hold(alice, 9, "lookup:1")
    charge(4)
    adjust(account, -1)
    ledger.grant(account, Decimal(10))
    assert told(alice) == []
