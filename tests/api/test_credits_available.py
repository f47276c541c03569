"""`Credits-Available-<provider>`: what is available after the hold of a create, as the hold itself found it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Tenant
from billing import ledger
from providers.keyring import credentials
from tests.api.examples import create, lookup
from tests.api.test_openapi import described
from tests.racing import at_once

PRODUCTS = {"source": "tiktok-products"}


def granted(tenant: Tenant, provider: str = "modash", amount: str = "10") -> None:
    ledger.grant(ledger.account_of(tenant, provider), Decimal(amount))


def told(response: Any) -> dict[str, str]:
    assert response.status_code == 202, response.content
    described("/v1/searches", "post", response)
    return {name: value for name, value in response.headers.items() if name.startswith("Credits-Available-")}


def test_it_is_what_the_account_has_left(api: APIClient, alice: Tenant) -> None:
    granted(alice, amount="10.50")
    assert told(create(api, lookups=[lookup(limit=20), lookup(limit=40)])) == {"Credits-Available-modash": "9"}
    assert told(create(api, lookups=[lookup(limit=20)])) == {"Credits-Available-modash": "8.5"}
    assert api.get("/v1/credits").json()["data"][0]["available"] == "8.5"


def test_each_prepaid_provider_of_the_search_is_told_and_no_metered_one(api: APIClient, alice: Tenant) -> None:
    for provider in ("keyapi", "memories"):
        credentials.store(alice, provider, f"alices-{provider}-key")
    for provider, amount in (("modash", "10"), ("keyapi", "3"), ("memories", "5")):
        granted(alice, provider, amount)
    found = told(create(api, lookups=[lookup(), PRODUCTS]))
    assert found == {"Credits-Available-modash": "9.5", "Credits-Available-keyapi": "2"}


def test_a_metered_account_has_none(api: APIClient) -> None:
    assert told(create(api)) == {}


def test_a_test_key_has_none(sandbox: APIClient, alice: Tenant) -> None:
    granted(alice)
    assert told(create(sandbox)) == {}


def test_a_repeat_that_holds_nothing_is_told_too(api: APIClient, alice: Tenant) -> None:
    granted(alice)
    create(api, max_age=60)
    again = create(api, max_age=60)
    assert again.json()["lookups"][0]["repeat"] == "coalesced"
    assert told(again) == {"Credits-Available-modash": "9.5"}


@pytest.mark.django_db(transaction=True)
def test_creates_at_once_are_each_told_of_their_own_hold(api: APIClient, alice: Tenant) -> None:
    granted(alice)
    responses = at_once([lambda: create(api)] * 4)
    assert sorted(told(response)["Credits-Available-modash"] for response in responses) == ["8", "8.5", "9", "9.5"]
