"""Balances and the ledger, and how an amount is printed."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from rest_framework.test import APIClient

from accounts.models import Tenant
from billing import ledger
from billing.models import Entry
from billing.serializers import credits_text
from tests.api.examples import lookup, made
from tests.api.test_lists import read_all


def grant(tenant: Tenant, amount: str) -> None:
    ledger.grant(ledger.account_of(tenant, "modash"), Decimal(amount), note="=A1")


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
    }


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
    # One transaction has one time; the id then says which came first.
    assert sorted((entry["kind"], entry["amount"], entry["reference"]) for entry in entries) == [
        ("grant", "5", ""),
        ("hold", "1", reference),
        ("release", "1", reference),
    ]
    assert [entry["id"] for entry in entries] == [str(entry.pk) for entry in Entry.objects.all()]


def test_entries_as_csv_keep_numbers_and_defuse_texts(api: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    ledger.adjust(ledger.account_of(alice, "modash"), Decimal("-2.5"), note="@home")
    response = api.get("/v1/credits/entries", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert {(row["amount"], row["note"]) for row in rows} == {("5", "'=A1"), ("-2.5", "'@home")}


def test_a_test_key_sees_no_money(api: APIClient, sandbox: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    made(sandbox)
    assert sandbox.get("/v1/credits").json()["data"] == []
    assert sandbox.get("/v1/credits/entries").json()["data"] == []


def test_nobody_sees_anothers_money(stranger: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    assert stranger.get("/v1/credits").json()["data"] == []
    assert stranger.get("/v1/credits/entries").json()["data"] == []
