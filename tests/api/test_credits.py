"""Balances and the ledger, and how an amount is printed."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import ApiKey, Tenant
from billing import ledger
from billing.models import KeyCap, TenantCap
from billing.serializers import credits_text
from tests.api.examples import lookup, made
from tests.api.test_lists import read_all
from tests.conftest import ClientOf


def grant(tenant: Tenant, amount: str) -> None:
    ledger.grant(ledger.account_of(tenant, "modash"), Decimal(amount), memo="=A1")


def csv_of(api: APIClient, path: str, **query: Any) -> list[dict[str, str]]:
    """Returns the rows of a file, whether it came as a page or as a stream."""
    response = api.get(path, query, headers={"Accept": "text/csv"})
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.getvalue().decode())))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("0.000000", "0"),
        ("-0.000000", "0"),
        ("0.025000", "0.025"),
        ("100", "100"),
        ("1E+2", "100"),
        ("1E-6", "0.000001"),
        ("-2.500000", "-2.5"),
        ("999999999999.999999", "999999999999.999999"),
    ],
)
def test_an_amount_is_printed_one_way(amount: str, text: str) -> None:
    assert credits_text(Decimal(amount)) == text


def test_a_metered_account_has_no_bound(api: APIClient) -> None:
    made(api, lookups=[lookup(limit=40)])
    [account] = api.get("/v1/credits").json()["data"]
    assert account == {
        "provider": "modash",
        "kind": "metered",
        "posted": "0",
        "held": "1",
        "available": None,
        "unknown": "0",
        "caps": [],
        "grants": [],
    }


def test_grants_are_listed_in_the_order_in_which_they_are_spent(api: APIClient, alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(100), memo="the first")
    ledger.grant(account, Decimal(10), expires_at=datetime(2099, 1, 31, tzinfo=UTC), priority=10)
    made(api, lookups=[lookup(limit=40)])
    [shown] = api.get("/v1/credits").json()["data"]
    assert shown["available"] == "109"
    assert shown["grants"] == [
        {
            "number": 2,
            "amount": "10",
            "available": "9",
            "priority": 10,
            "expires_at": "2099-01-31T00:00:00Z",
            "memo": "",
        },
        {"number": 1, "amount": "100", "available": "100", "priority": 50, "expires_at": None, "memo": "the first"},
    ]


def test_an_account_shows_the_caps_of_the_tenant_and_of_the_key_that_asks(
    api: APIClient, alice: Tenant, client_of: ClientOf
) -> None:
    made(api, lookups=[lookup(limit=40)])
    TenantCap.objects.create(tenant=alice, provider="modash", amount=Decimal(100))
    KeyCap.objects.create(api_key=ApiKey.objects.get(), provider="modash", amount=Decimal("0.5"))
    [account] = api.get("/v1/credits").json()["data"]
    of_tenant, of_key = account["caps"]
    renews_at = of_tenant.pop("renews_at")
    assert of_tenant == {"limit": "tenant_cap", "size": "100", "used": "0", "held": "1", "left": "99"}
    assert of_key == {"limit": "key_cap", "size": "0.5", "used": "0", "held": "1", "left": "0", "renews_at": renews_at}
    assert renews_at.endswith("-01T00:00:00Z")
    [seen_by_another] = client_of(alice).get("/v1/credits").json()["data"]
    assert [cap["limit"] for cap in seen_by_another["caps"]] == ["tenant_cap"]


def test_a_prepaid_account_says_what_is_left(api: APIClient, alice: Tenant) -> None:
    grant(alice, "2.5")
    search = made(api, lookups=[lookup(limit=40)])
    reference = search.lookups.get().reference
    ledger.charge(reference, Decimal("0.25"), key="call:1")
    ledger.set_unknown(reference, Decimal("0.5"))
    [account] = api.get("/v1/credits").json()["data"]
    assert (account["kind"], account["posted"], account["held"]) == ("prepaid", "2.25", "0.75")
    assert (account["available"], account["unknown"]) == ("1.5", "0.5")


def test_a_search_shows_its_own_credits(api: APIClient) -> None:
    search = made(api, lookups=[lookup(limit=40)])
    reference = search.lookups.get().reference
    ledger.charge(reference, Decimal("0.25"), key="call:1")
    ledger.set_unknown(reference, Decimal("0.5"))
    [shown] = api.get(f"/v1/searches/{search.pk}").json()["lookups"]
    assert shown["credits"] == {"held": "0.25", "charged": "0.25", "unknown": "0.5", "final": False}


def test_every_entry_is_listed_newest_first(api: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    search = made(api, lookups=[lookup(limit=40)])
    api.post(f"/v1/searches/{search.pk}/cancel")
    entries = read_all(api, "/v1/credits/entries", limit=2)
    reference = search.lookups.get().reference
    assert [(entry["number"], entry["kind"], entry["amount"], entry["reference"]) for entry in entries] == [
        (3, "release", "1", reference),
        (2, "hold", "1", reference),
        (1, "grant", "5", ""),
    ]


def test_an_entry_says_what_was_there_after_it(api: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    reference = made(api, lookups=[lookup(limit=40)]).lookups.get().reference
    ledger.set_unknown(reference, Decimal("0.5"))
    entries = api.get("/v1/credits/entries").json()["data"]
    after = [(entry["posted_after"], entry["held_after"], entry["unknown_after"]) for entry in entries]
    assert after == [("5", "1", "0.5"), ("5", "1", "0"), ("5", "0", "0")]
    assert list(entries[0]) == [
        *("id", "provider", "number", "kind", "amount", "posted_after", "held_after", "unknown_after"),
        *("reference", "memo", "created_at"),
    ]


def test_entries_are_listed_account_by_account(api: APIClient, alice: Tenant) -> None:
    for provider in ("modash", "memories", "modash", "memories"):
        ledger.grant(ledger.account_of(alice, provider), Decimal(1))
    entries = read_all(api, "/v1/credits/entries", limit=1)
    assert [(entry["provider"], entry["number"]) for entry in entries] == [
        ("memories", 2),
        ("memories", 1),
        ("modash", 2),
        ("modash", 1),
    ]


def test_entries_as_csv_keep_numbers_and_defuse_texts(api: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    ledger.adjust(ledger.account_of(alice, "modash"), Decimal("-2.5"), memo="@home", person="olive", corrects="1")
    rows = csv_of(api, "/v1/credits/entries")
    assert {(row["amount"], row["memo"]) for row in rows} == {("5", "'=A1"), ("-2.5", "'@home")}


def test_a_test_key_sees_no_money(api: APIClient, sandbox: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    made(sandbox)
    assert sandbox.get("/v1/credits").json()["data"] == []
    assert sandbox.get("/v1/credits/entries").json()["data"] == []


def test_nobody_sees_anothers_money(stranger: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    assert stranger.get("/v1/credits").json()["data"] == []
    assert stranger.get("/v1/credits/entries").json()["data"] == []
