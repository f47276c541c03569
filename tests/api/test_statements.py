"""Closed months over HTTP: only the tenant's own, as JSON and CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import Tenant
from billing import ledger
from billing.models import Account, Statement
from tests.api.test_lists import read_all
from tests.api.test_openapi import described
from tests.billing.months import end_month, statements_of
from tests.billing.test_ledger import hold, in_one


@pytest.fixture
def account(alice: Tenant) -> Account:
    """Alice's account with two closed months: 5 granted, then 2 held and 0.25 of it charged."""
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(5))
    end_month(account)
    hold(alice, 2)
    in_one(ledger.charge, "lookup:1", Decimal("0.25"), key="call")
    end_month(account)
    return account


def test_closed_months_are_listed_newest_first(api: APIClient, account: Account) -> None:
    first, second = statements_of(account)
    rows = read_all(api, "/v1/statements", limit=1)
    assert [row["id"] for row in rows] == [str(second.pk), str(first.pk)]
    assert rows[0] == {
        "id": str(second.pk),
        "provider": "modash",
        "month": f"{second.month:%Y-%m}",
        "first_entry_number": 2,
        "last_entry_number": 3,
        "opening": {"posted": "5", "held": "0", "unknown": "0"},
        "by_kind": {
            "grant": "0",
            "expiry": "0",
            "adjustment": "0",
            "charge": "0.25",
            "hold": "2",
            "release": "0",
            "unknown": "0",
        },
        "closing": {"posted": "4.75", "held": "1.75", "unknown": "0"},
        "closed_at": second.closed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "last_entry_hash": bytes(second.last_entry_hash).hex(),
        "previous_hash": bytes(first.hash).hex(),
        "hash": bytes(second.hash).hex(),
    }
    assert rows[1]["previous_hash"] == ""


def test_accounts_of_one_month_are_listed_by_provider(api: APIClient, alice: Tenant) -> None:
    for provider in ("modash", "keyapi", "memories"):
        account = ledger.account_of(alice, provider)
        end_month(account)
    rows = read_all(api, "/v1/statements", limit=1)
    assert [row["provider"] for row in rows] == ["keyapi", "memories", "modash"]


def test_one_is_read_by_its_id(api: APIClient, account: Account) -> None:
    for row in api.get("/v1/statements").json()["data"]:
        assert api.get(f"/v1/statements/{row['id']}").json() == row


def test_both_are_as_described(api: APIClient, account: Account) -> None:
    described("/v1/statements", "get", api.get("/v1/statements"))
    described("/v1/statements/{id}", "get", api.get(f"/v1/statements/{Statement.objects.all()[0].pk}"))
    described("/v1/statements/{id}", "get", api.get(f"/v1/statements/{uuid4()}"))
    described("/v1/statements", "get", api.get("/v1/statements", {"month": "2026-10"}))


def test_the_list_and_one_are_tables_too(api: APIClient, account: Account) -> None:
    first, second = statements_of(account)
    for path, ids in (("", [second.pk, first.pk]), (f"/{first.pk}", [first.pk])):
        response = api.get(f"/v1/statements{path}", headers={"Accept": "text/csv"})
        rows = list(csv.DictReader(io.StringIO(response.getvalue().decode())))
        assert [UUID(row["id"]) for row in rows] == ids
        assert (rows[-1]["opening.posted"], rows[-1]["by_kind.grant"], rows[-1]["closing.posted"]) == ("0", "5", "5")
        assert rows[-1]["hash"] == bytes(first.hash).hex()


def test_a_form_that_is_not_offered_is_406(api: APIClient, account: Account) -> None:
    path = f"/v1/statements/{statements_of(account)[0].pk}"
    assert api.get(path, headers={"Accept": "application/pdf"}).status_code == 406


def test_a_table_of_what_is_not_there_is_a_problem(api: APIClient, account: Account) -> None:
    response = api.get(f"/v1/statements/{uuid4()}", headers={"Accept": "text/csv"})
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


def test_nobody_sees_anothers_months(stranger: APIClient, account: Account) -> None:
    assert stranger.get("/v1/statements").json()["data"] == []
    assert stranger.get(f"/v1/statements/{statements_of(account)[0].pk}").status_code == 404


def test_a_test_key_sees_no_months(sandbox: APIClient, account: Account) -> None:
    assert sandbox.get("/v1/statements").json()["data"] == []
    assert sandbox.get(f"/v1/statements/{statements_of(account)[0].pk}").status_code == 404


def test_statements_cannot_be_written(api: APIClient, account: Account) -> None:
    path = f"/v1/statements/{statements_of(account)[0].pk}"
    for method in (api.put, api.patch, api.delete, api.post):
        assert method(path).status_code == 405
