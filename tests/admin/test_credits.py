"""Credits move by the ledger's functions alone, once a dialog, and prices that were in force stay as they were."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Tenant
from billing import grants, ledger
from billing.models import Account, Entry, Grant, Hold, Price
from tests.admin.conftest import PROVIDER, SOURCE, World
from tests.admin.test_pages import address, page_of
from tests.billing.passing import expires_in, has_ended


def send(desk: Client, action: str, row: Model, **fields: object) -> list[str]:
    """Sends an action's dialog; what the operator is told then, or the dialog's errors."""
    path = reverse(f"admin:billing_{action}", args=[quote(row.pk)])
    response = desk.post(path, {"_form_submitted": "on", "key": uuid4(), "memo": "why"} | fields)
    if "HX-Redirect" not in response.headers:
        return [error for errors in response.context["form"].errors.values() for error in errors]
    return [str(message) for message in desk.get(response.headers["HX-Redirect"]).context["messages"]]


def test_a_new_account_is_metered(desk: Client, alice: Tenant) -> None:
    desk.post(address(Account, "add"), {"tenant": str(alice.pk), "provider": PROVIDER})
    account = Account.objects.get()
    assert (account.tenant, account.provider, account.kind) == (alice, PROVIDER, "metered")


def test_an_account_is_not_made_twice(desk: Client, world: World) -> None:
    form = {"tenant": str(world.tenant.pk), "provider": PROVIDER}
    response = desk.post(address(Account, "add"), form)
    assert "already exists" in response.content.decode()


def test_a_grant_can_expire_and_have_a_priority(desk: Client, alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    form = {"amount": "5", "memo": "a bonus", "expires_at": "2099-01-31 00:00", "priority": "0"}
    assert send(desk, "account_grant", account, **form) == ["Granted 5 credits."]
    kept = Grant.objects.get()
    assert kept.expires_at == datetime(2099, 1, 31, tzinfo=UTC)
    assert kept.priority == 0


def test_an_account_shows_nothing_available_of_a_grant_that_has_ended(desk: Client, alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(3))
    ledger.grant(account, Decimal(50), expires_at=expires_in(days=1))
    has_ended(2)
    for shown in (page_of(account), reverse("admin:billing_account_changelist")):
        text = desk.get(shown).content.decode()
        assert ">3credits<" in re.sub(r"\s", "", text)


def test_a_grant_that_has_ended_before_it_begins_is_refused(desk: Client, alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    form = {"amount": "5", "memo": "a bonus", "expires_at": "2020-01-31 00:00"}
    assert send(desk, "account_grant", account, **form) == [grants.EXPIRES_AT]
    assert not Entry.objects.exists()


def test_granted_credits_are_posted(desk: Client, alice: Tenant) -> None:
    account = ledger.account_of(alice, PROVIDER)
    assert send(desk, "account_grant", account, amount="12.5", memo="first order") == ["Granted 12.5 credits."]
    account.refresh_from_db()
    assert (account.kind, account.posted) == ("prepaid", Decimal("12.5"))
    assert Entry.objects.get(kind="grant").memo == "first order"


def test_a_dialog_that_is_sent_twice_counts_once(desk: Client, alice: Tenant) -> None:
    account = ledger.account_of(alice, PROVIDER)
    form = {"amount": "10", "memo": "once", "key": uuid4()}
    send(desk, "account_grant", account, **form)
    assert send(desk, "account_grant", account, **form) == ["That was sent twice; it counted once."]
    account.refresh_from_db()
    assert account.posted == 10


@pytest.mark.parametrize("amount", ["0", "-1", "0.0000001", "a lot", ""])
def test_a_grant_of_nothing_is_refused(desk: Client, alice: Tenant, amount: str) -> None:
    account = ledger.account_of(alice, PROVIDER)
    assert send(desk, "account_grant", account, amount=amount, memo="why")
    assert not Entry.objects.exists()


def test_an_adjustment_may_take_credits(desk: Client, world: World) -> None:
    form = {"amount": "-40", "memo": "refund", "corrects": "1"}
    assert send(desk, "account_adjust", world.account, **form) == ["Adjusted by -40 credits."]
    assert Account.objects.get().posted == 60
    entry = Entry.objects.get(kind="adjustment")
    assert (entry.memo, entry.person, entry.reference) == ("refund", "olive", "entry:1")


@pytest.mark.parametrize(
    ("missing", "says"), [("memo", "This field is required."), ("corrects", "This field is required.")]
)
def test_an_adjustment_without_a_reason_or_what_it_corrects_is_refused(
    desk: Client, world: World, missing: str, says: str
) -> None:
    form = {"amount": "-40", "memo": "refund", "corrects": "1"} | {missing: ""}
    assert send(desk, "account_adjust", world.account, **form) == [says]
    assert not Entry.objects.filter(kind="adjustment").exists()


def test_an_adjustment_of_what_is_not_there_is_refused(desk: Client, world: World) -> None:
    (said,) = send(desk, "account_adjust", world.account, amount="-40", memo="refund", corrects="99")
    assert said.startswith("corrects: this account has no entry 99;")


def test_an_adjustment_below_zero_is_refused(desk: Client, world: World) -> None:
    (said,) = send(desk, "account_adjust", world.account, amount="-99.5", memo="too much", corrects="1")
    assert "below zero" in said
    assert Account.objects.get().posted == 100


@pytest.mark.parametrize(("charged", "posted"), [("0", 100), ("0.5", Decimal("99.5")), ("1", 99)])
def test_an_unknown_outcome_is_settled(desk: Client, world: World, charged: str, posted: Decimal) -> None:
    ledger.set_unknown(world.lookup.reference, Decimal(1))
    hold = Hold.objects.get()
    assert send(desk, "hold_settle", hold, charged=charged) == [f"Settled: {charged} of 1 credits were billed."]
    account = Account.objects.get()
    assert (account.posted, account.held) == (posted, Decimal(0))


def test_the_second_of_two_operators_who_settle_one_unknown_is_told(desk: Client, world: World) -> None:
    ledger.set_unknown(world.lookup.reference, Decimal("0.5"))
    hold = Hold.objects.get()
    opened = desk.get(reverse("admin:billing_hold_settle", args=[quote(hold.pk)])).context["form"]["seen"].initial
    send(desk, "hold_settle", hold, charged="0.5", seen=opened, memo="their invoice")
    with pytest.raises(ValueError, match=r"^charged: nothing of this lookup is unknown"):
        ledger.settle(hold.reference, charged=Decimal(0))
    ledger.set_unknown(world.lookup.reference, Decimal("0.25"))
    # The second operator's dialog was opened before the first one's was sent.
    (said,) = send(desk, "hold_settle", hold, charged="0.25", seen=opened)
    assert said == "charged: what is unknown of this lookup has changed since you looked; look again."
    charge = Entry.objects.get(kind="charge")
    assert (charge.amount, charge.memo, charge.person) == (Decimal("0.5"), "their invoice", "olive")


def test_more_than_was_unknown_cannot_have_been_billed(desk: Client, world: World) -> None:
    ledger.set_unknown(world.lookup.reference, Decimal("0.5"))
    (said,) = send(desk, "hold_settle", Hold.objects.get(), charged="0.6")
    assert "between 0 and the 0.5" in said
    assert Hold.objects.get().unknown == Decimal("0.5")


def test_a_hold_without_an_unknown_cannot_be_settled(desk: Client, world: World) -> None:
    path = reverse("admin:billing_hold_settle", args=[quote(world.lookup.reference)])
    assert desk.get(path).status_code == 403


def test_a_price_begins_now_or_later(desk: Client, db: None) -> None:
    form = {"source": SOURCE, "per_call": "0", "per_result": "0.03", "valid_from_0": "", "valid_from_1": ""}
    desk.post(address(Price, "add"), form)
    assert Price.objects.latest("valid_from").per_result == Decimal("0.03")
    response = desk.post(address(Price, "add"), form | {"valid_from_0": "2020-01-01", "valid_from_1": "00:00:00"})
    assert "cannot begin in the past" in response.content.decode()


def test_a_price_that_was_in_force_is_not_changed(desk: Client, db: None) -> None:
    price = Price.objects.get(source=SOURCE)
    form = {"source": SOURCE, "per_call": "0", "per_result": "9", "valid_from_0": "2099-01-01", "valid_from_1": "00:00"}
    assert desk.post(page_of(price), form).status_code == 403
    assert desk.post(address(Price, "delete", price.pk), {"post": "yes"}).status_code == 403
    assert Price.objects.get(source=SOURCE).per_result == Decimal("0.025")


def test_a_price_to_come_may_be_changed(desk: Client, db: None) -> None:
    moment = timezone.now() + timedelta(days=30)
    price = Price.objects.create(source=SOURCE, per_result=Decimal(1), valid_from=moment)
    form = {"source": SOURCE, "per_call": "0", "per_result": "2", "valid_from_0": "2099-01-01", "valid_from_1": "00:00"}
    assert desk.post(page_of(price), form).status_code == 302
    price.refresh_from_db()
    assert price.per_result == 2
