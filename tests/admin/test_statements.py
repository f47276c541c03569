"""A closed month in the admin: what it says, and a page of its own that prints as it is shown."""

from __future__ import annotations

import re
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts.models import Tenant, User
from billing import ledger, statement_chart
from billing.models import Account, Statement
from tests.admin.conftest import World
from tests.admin.test_permissions import allow, trainee, trainees_desk
from tests.billing.months import end_month, statements_of
from tests.billing.test_ledger import adjust, hold, in_one

__all__ = ["trainee", "trainees_desk"]


def page(statement: Model) -> str:
    return reverse("admin:billing_statement_print", args=[statement.pk])


def last(account: Account) -> Statement:
    end_month(account)
    return statements_of(account)[-1]


def chart_of(html: str) -> ElementTree.Element:
    found = re.search(r"<svg.*</svg>", html, re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def test_the_page_says_what_the_statement_says(desk: Client, world: World) -> None:
    statement = world.rows[Statement]
    assert isinstance(statement, Statement)
    response = desk.get(page(statement))
    assert response.status_code == 200
    html = response.content.decode()
    assert f"Statement {statement.month:%B %Y}" in html
    assert "Alice and Sons, credits of modash" in html
    for value in (statement.hash, statement.last_entry_hash):
        assert bytes(value).hex() in html


def test_the_page_prints_without_a_script_or_anything_from_elsewhere(desk: Client, world: World) -> None:
    response = desk.get(page(world.rows[Statement]))
    html = response.content.decode()
    assert "@page" in html
    assert not re.search(r"<script|<link|<img|https?://|\bon\w+=", html)


def test_the_list_and_the_row_lead_to_it(desk: Client, world: World) -> None:
    statement = world.rows[Statement]
    for name, args in (("changelist", []), ("change", [statement.pk])):
        html = desk.get(reverse(f"admin:billing_statement_{name}", args=args)).content.decode()
        assert reverse("admin:billing_statement_print", args=[statement.pk]) in html


def test_only_who_may_see_statements_sees_it(
    trainees_desk: Client, trainee: User, world: World, client: Client
) -> None:
    address = reverse("admin:billing_statement_print", args=[world.rows[Statement].pk])
    assert trainees_desk.get(address).status_code == 403
    assert client.get(address).status_code == 302
    allow(trainee, "view_statement")
    assert trainees_desk.get(address).status_code == 200


def test_one_that_is_not_there_is_not_found(desk: Client, world: World) -> None:
    assert desk.get(reverse("admin:billing_statement_print", args=[world.tenant.pk])).status_code == 404


def test_a_tenants_name_is_text(desk: Client) -> None:
    tenant = Tenant.objects.create(name="<b>&</b>")
    html = desk.get(page(last(ledger.account_of(tenant, "modash")))).content.decode()
    assert "<b>&" not in html
    assert "&lt;b&gt;&amp;&lt;/b&gt;" in html


@pytest.mark.parametrize("charged", ["0", "4", "30"])
def test_the_chart_goes_from_the_opening_to_the_closing(desk: Client, alice: Tenant, charged: str) -> None:
    account = ledger.account_of(alice, "modash")
    hold(alice, 30)
    in_one(ledger.charge, "lookup:1", Decimal(charged), key="call")
    adjust(account, 7)
    statement = last(account)
    bars = statement_chart.of(statement).bars
    assert [bar.label for bar in bars] == ["opening", "grants", "expiries", "adjustments", "charges", "closing"]
    assert (bars[3].amount, bars[4].amount) == ("7", f"-{charged}" if charged != "0" else "0")
    drawn = chart_of(desk.get(page(statement)).content.decode())
    assert len(drawn.findall("rect")) == len(bars)
    for bar in bars:
        assert bar.height >= 1
        assert 0 <= bar.y <= bar.y + bar.height <= statement_chart.HEIGHT
        assert 0 <= bar.x <= bar.x + bar.width <= statement_chart.WIDTH


def test_bars_have_the_heights_of_their_amounts(prepaid_with: Account) -> None:
    bars = {bar.label: bar for bar in statement_chart.of(last(prepaid_with)).bars}
    assert bars["grants"].height == pytest.approx(2 * bars["charges"].height, abs=1)
    assert bars["closing"].height == pytest.approx(bars["charges"].height, abs=1)
    assert bars["charges"].y == bars["grants"].y


@pytest.fixture
def prepaid_with(alice: Tenant) -> Account:
    """Alice's account, with 10 credits granted and 5 charged."""
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(10))
    hold(alice, 5)
    in_one(ledger.close, "lookup:1", Decimal(5))
    return account
