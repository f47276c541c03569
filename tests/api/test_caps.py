"""Caps and `max_credits` over HTTP: a 402 says which limit, and 50 submits at once never pass one."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from rest_framework.serializers import ChoiceField
from rest_framework.test import APIClient

from accounts.models import ApiKey, Mode, Tenant
from billing import audit, ledger
from billing.caps import CODES
from billing.models import Account, Budget, Hold, KeyCap, TenantCap
from billing.serializers import LimitSerializer
from searches.models import Search
from tests.api.examples import create, create_form, lookup, made, nothing_left
from tests.conftest import ClientOf
from tests.racing import at_once
from tests.searches.samples import image_of

CROWD, ROOM = 50, 7


def cap(alice: Tenant, amount: str, provider: str = "modash") -> None:
    TenantCap.objects.update_or_create(tenant=alice, provider=provider, defaults={"amount": Decimal(amount)})


def cap_key(amount: str, key: ApiKey | None = None) -> None:
    key = key or ApiKey.objects.get(mode=Mode.LIVE)
    KeyCap.objects.update_or_create(api_key=key, provider="modash", defaults={"amount": Decimal(amount)})


def problem(response: Any) -> tuple[int, str, str]:
    body = response.json()
    return response.status_code, body["code"], body["detail"]


def test_a_402_says_which_cap_its_size_what_is_spent_and_when_it_renews(api: APIClient, alice: Tenant) -> None:
    cap(alice, "1.5")
    made(api, lookups=[lookup(limit=40)])
    status, code, detail = problem(create(api, lookups=[lookup(limit=40, offset=40)]))
    assert (status, code) == (402, "tenant_cap_reached")
    assert (
        "up to 1 modash credits, and your cap is 1.5 a month (0 used, 1 held), which leaves 0.5 until it renews at"
        in detail
    )
    assert (Search.objects.count(), Hold.objects.count()) == (1, 1)


def test_a_402_has_the_figures_of_its_limit_as_members(api: APIClient, alice: Tenant) -> None:
    cap(alice, "1.5")
    made(api, lookups=[lookup(limit=40)])
    ledger.charge(Hold.objects.get().reference, Decimal("0.25"), key="call")
    limit = create(api, lookups=[lookup(limit=40, offset=40)]).json()["limit"]
    assert limit.pop("renews_at").endswith("-01T00:00:00Z")
    figures = {"size": "1.5", "used": "0.25", "held": "0.75", "asked": "1", "left": "0.5", "short_by": "0.5"}
    assert limit == {"name": "tenant_cap", "provider": "modash", **figures}


def test_a_402_of_a_prepaid_account_has_its_balance(api: APIClient, alice: Tenant) -> None:
    ledger.grant(ledger.account_of(alice, "modash"), Decimal("0.25"))
    body = create(api, lookups=[lookup(limit=40)]).json()
    figures = {"size": "0.25", "used": "0", "held": "0", "asked": "1", "left": "0.25", "short_by": "0.75"}
    assert body["limit"] == {"name": "balance", "provider": "modash", **figures, "renews_at": None}


def test_every_limit_is_one_that_the_document_names() -> None:
    name = LimitSerializer().fields["name"]
    assert isinstance(name, ChoiceField)
    assert set(name.choices) == set(CODES)


def test_a_402_names_the_cap_of_the_key(api: APIClient) -> None:
    cap_key("0.9")
    status, code, detail = problem(create(api, lookups=[lookup(limit=40)]))
    assert (status, code) == (402, "key_cap_reached")
    assert "the API key's cap is 0.9 a month (0 used, 0 held)" in detail
    assert nothing_left()


def test_a_search_may_cost_its_max_credits_and_no_more(api: APIClient) -> None:
    two = [lookup(limit=40), lookup(limit=20)]
    status, code, detail = problem(create(api, lookups=two, max_credits={"modash": "1.499999"}))
    assert (status, code) == (402, "max_credits_too_low")
    assert "up to 1.5 modash credits, and its max_credits.modash is 1.499999" in detail
    assert nothing_left()
    assert not Budget.objects.exists()
    made(api, lookups=two, max_credits={"modash": "1.5", "keyapi": "0"})
    assert list(Budget.objects.values_list("most", "held")) == [(Decimal("1.5"), Decimal("1.5"))]


def test_max_credits_come_in_a_form_too(api: APIClient) -> None:
    response = create_form(api, {"lookups": [lookup(limit=40)], "max_credits": {"modash": "0.5"}})
    assert problem(response)[:2] == (402, "max_credits_too_low")


def test_a_test_key_has_no_limits(sandbox: APIClient, alice: Tenant) -> None:
    cap(alice, "0")
    made(sandbox, max_credits={"modash": "0"})
    assert not Budget.objects.exists()


FORM = 'Must be credits as a text of 0 or more with at most 6 decimals, such as "2.5".'


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"nobody": "1"}, "max_credits.nobody", "There is no such provider; known are keyapi, memories, modash."),
        ({"modash": "-1"}, "max_credits.modash", FORM),
        ({"modash": "0.0000001"}, "max_credits.modash", FORM),
        ({"modash": 2.5}, "max_credits.modash", FORM),
        ({"modash": True}, "max_credits.modash", FORM),
        ({"modash": None}, "max_credits.modash", "Must have a value, and not null."),
        ({"modash": ""}, "max_credits.modash", FORM),
        ({"modash": " 1"}, "max_credits.modash", FORM),
        ({"modash": "1e3"}, "max_credits.modash", FORM),
        ({"modash": "NaN"}, "max_credits.modash", FORM),
        ({"modash": "١"}, "max_credits.modash", FORM),
        ({"modash": "1\n"}, "max_credits.modash", FORM),
        ({"modash": "9" * 400}, "max_credits.modash", FORM),
        ({"modash": "1000000000.000001"}, "max_credits.modash", "Must be at most 1,000,000,000 credits."),
        ({"modash": ["1"]}, "max_credits.modash", FORM),
        ("2.5", "max_credits", 'Must be an object of credits by provider, such as {"keyapi": "2.5"}.'),
        (["modash"], "max_credits", 'Must be an object of credits by provider, such as {"keyapi": "2.5"}.'),
    ],
)
def test_wrong_max_credits_are_a_400_that_names_the_field(api: APIClient, given: Any, field: str, says: str) -> None:
    response = create(api, max_credits=given)
    [error] = response.json()["errors"]
    assert (response.status_code, error["field"], error["detail"]) == (400, field, says)
    assert nothing_left()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", ["tenant", "all", "key", "tenant and two keys", "max_credits"])
def test_50_submits_at_once_with_room_for_7_give_7_time_after_time(
    api: APIClient, alice: Tenant, client_of: ClientOf, limit: str
) -> None:
    rounds = 2
    clients = [api, client_of(alice)]
    of_api, of_other = ApiKey.objects.order_by("created_at", "pk")
    picture = str(image_of(made(api, lookups=[lookup(limit=40)])).pk)
    for number in range(1, rounds + 1):
        # Each round finds what the rounds before it hold.
        room = str(1 + ROOM * number)
        if limit in ("tenant", "tenant and two keys", "all"):
            cap(alice, room)
        if limit in ("key", "all"):
            cap_key(room, of_api)
        if limit == "tenant and two keys":
            # Together they have more room than the tenant.
            cap_key(str(1 + (ROOM - 2) * number), of_api)
            cap_key(str((ROOM - 2) * number), of_other)
        most = [{"modash": "1" if limit == "all" or at < ROOM else "0.999999"} for at in range(CROWD)]
        more = [{"max_credits": each} if limit in ("max_credits", "all") else {} for each in most]
        using = clients if limit == "tenant and two keys" else [api]
        ask = [
            partial(
                create, using[at % len(using)], image={"id": picture}, lookups=[lookup(limit=40)], max_age=0, **more[at]
            )
            for at in range(CROWD)
        ]
        statuses = Counter(response.status_code for response in at_once(ask))
        assert statuses == {202: ROOM, 402: CROWD - ROOM}
    assert not Budget.objects.filter(held__gt=F("most")).exists()
    assert Account.objects.get().held == 1 + ROOM * rounds
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_20_second_holds_at_once_with_room_for_7_in_their_search_give_7(api: APIClient) -> None:
    search = made(api, lookups=[lookup(limit=20)] * 20, max_age=0, max_credits={"modash": "13.5"})

    def ask_again(reference: str) -> bool:
        with transaction.atomic():
            return ledger.hold_more(reference, Decimal("0.5"), key=f"call:{reference}")

    outcomes = Counter(at_once([partial(ask_again, one.reference) for one in search.lookups.all()]))
    assert outcomes == {True: ROOM, False: 20 - ROOM}
    assert list(Budget.objects.values_list("most", "held")) == [(Decimal("13.5"), Decimal("13.5"))]
    assert audit.differences() == []
