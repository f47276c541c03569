"""`POST /v1/searches`: each way to send a picture, what comes back, and what is refused without a trace."""

from __future__ import annotations

import json
from base64 import b64encode
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Tenant
from billing import ledger
from billing.models import Account, Price
from providers.keyring import credentials
from providers.models import Credential
from searches.models import Image, Lookup, Search
from tests.api.examples import PICTURE, create, create_form, lookup, made, nothing_left, order
from tests.searches import samples


def test_json_makes_a_search(api: APIClient) -> None:
    response = create(api, metadata={"campaign": "spring"}, priority=3)
    body = response.json()
    assert response.status_code == 202
    assert response["Location"] == f"/v1/searches/{body['id']}"
    assert (body["status"], body["mode"], body["version"]) == ("queued", "live", 1)
    assert body["metadata"] == {"campaign": "spring"}
    assert body["image"]["width"] == 64
    assert Search.objects.get(pk=body["id"]).priority == 3


def test_a_form_makes_a_search(api: APIClient) -> None:
    response = create_form(api, {"lookups": [lookup(limit=40)]})
    assert response.status_code == 202
    assert response.json()["image"]["bytes"] == len(PICTURE)


def test_a_stored_picture_makes_a_search(api: APIClient) -> None:
    image = samples.image_of(made(api))
    response = create(api, image={"id": str(image.pk)})
    assert response.status_code == 202
    assert response.json()["image"]["id"] == str(image.pk)
    assert Image.objects.count() == 1


def test_a_lookup_looks_as_the_contract_says(api: APIClient) -> None:
    response = create(api, lookups=[lookup(limit=40, parameters={"followers_count": {"min": 13000}})])
    shown = response.json()["lookups"][0]
    start = shown.pop("estimated_start_at")
    assert start.endswith("Z")
    assert shown == {
        "id": str(Lookup.objects.get().pk),
        "source": "tiktok-creators",
        "provider": "modash",
        "status": "queued",
        "parameters": {"followers_count": {"min": 13000}},
        "effective_parameters": {"followers_count": {"min": 10000}},
        "position": 1,
        "waiting_on": "rate",
        "repeat": "miss",
        "repeat_of": None,
        "credits": {"held": "1", "charged": "0", "unknown": "0", "final": False},
        "calls": 0,
        "result_count": 0,
        "duplicates": 0,
        "unreadable": 0,
        "total": None,
        "error": None,
    }


def test_the_same_source_twice_are_two_lookups_in_order(api: APIClient) -> None:
    wanted = [lookup(limit=40), lookup(limit=40, offset=40)]
    ids = [one["id"] for one in create(api, lookups=wanted).json()["lookups"]]
    assert [str(one.pk) for one in Lookup.objects.order_by("ordinal")] == ids
    assert [one.first_page for one in Lookup.objects.order_by("ordinal")] == [0, 1]


def test_defaults_are_the_contracts(api: APIClient) -> None:
    search = made(api)
    only = search.lookups.get()
    assert (only.limit, only.first_page, only.parameters) == (20, 0, {})
    assert (search.expires_at - search.created_at).total_seconds() == 86_400


def test_a_test_key_needs_no_credential_and_holds_nothing(sandbox: APIClient) -> None:
    body = create(sandbox).json()
    assert body["mode"] == "test"
    assert body["lookups"][0]["credits"]["held"] == "0"
    assert not Account.objects.exists()


def test_a_lookup_can_name_its_credential(api: APIClient, alice: Tenant) -> None:
    credential = Credential.objects.get(tenant=alice)
    for name in ("default", str(credential.pk)):
        search = made(api, lookups=[lookup(credential=name)])
        assert search.lookups.get().credential == credential


def test_without_a_credential_it_is_a_409(alice: Tenant, stranger: APIClient) -> None:
    response = create(stranger)
    assert (response.status_code, response.json()["code"]) == (409, "credential_missing")
    assert "modash" in response.json()["detail"]
    assert nothing_left()


def test_a_bad_picture_is_named_before_a_missing_credential(alice: Tenant, stranger: APIClient) -> None:
    response = create(stranger, image={"base64": b64encode(samples.TEXT).decode()})
    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (400, ["image"])


def test_a_credential_that_is_not_there_is_named(api: APIClient) -> None:
    response = create(api, lookups=[lookup(), lookup(credential="other")])
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["lookups[1].credential"]
    assert nothing_left()


@pytest.mark.parametrize(
    ("named", "status", "says"),
    [
        (None, 409, "None of your modash credentials is the default (stored: `default`)"),
        ("main", 400, "(stored: `default`); name another: none of them is the default."),
    ],
)
def test_a_key_that_is_labelled_default_need_not_be_it(
    stranger: APIClient, charlie: Tenant, named: str | None, status: int, says: str
) -> None:
    credentials.store(charlie, "modash", "sandbox_error")
    response = create(stranger, lookups=[lookup(**({} if named is None else {"credential": named}))])
    assert response.status_code == status
    assert says in json.dumps(response.json())
    assert nothing_left()


def test_the_default_need_not_be_labelled_default(api: APIClient, alice: Tenant) -> None:
    main = Credential.objects.get(tenant=alice)
    credentials.change(main, label="main")
    assert made(api).lookups.get().credential == main
    [error] = create(api, lookups=[lookup(credential="default")]).json()["errors"]
    assert error["field"] == "lookups[0].credential"
    assert (
        "(stored: `main` is the default); leave it out for the default, which is a choice and no label."
        in error["detail"]
    )


def test_an_offset_between_two_pages_names_the_nearest(api: APIClient) -> None:
    response = create(api, lookups=[lookup(limit=60, offset=40)])
    [error] = response.json()["errors"]
    assert (response.status_code, error["field"]) == (400, "lookups[0].offset")
    assert "30 or 60" in error["detail"]
    assert nothing_left()


def test_too_few_credits_are_a_402_that_says_how_many_are_needed(api: APIClient, alice: Tenant) -> None:
    ledger.grant(ledger.account_of(alice, "modash"), Decimal("0.25"))
    response = create(api, lookups=[lookup(limit=40)])
    problem = response.json()
    assert (response.status_code, problem["code"]) == (402, "insufficient_credits")
    assert "up to 1 modash credits, and 0.25 are available" in problem["detail"]
    assert Account.objects.get().held == 0
    assert not Search.objects.exists()


def test_a_source_without_a_price_is_a_402(api: APIClient) -> None:
    Price.objects.all().delete()
    response = create(api)
    assert (response.status_code, response.json()["code"]) == (402, "price_missing")
    assert nothing_left()


def test_another_tenants_picture_is_not_there(api: APIClient, stranger: APIClient) -> None:
    image = samples.image_of(made(api))
    response = create(stranger, image={"id": str(image.pk)})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "image.id"


@pytest.mark.parametrize("changes", [{"expires_in": 1}, {"expires_in": 604_800}, {"priority": -10}, {"metadata": {}}])
def test_the_bounds_themselves_are_taken(api: APIClient, changes: dict[str, Any]) -> None:
    assert create(api, **changes).status_code == 202


def test_past_what_a_tenant_may_have_waiting_a_create_says_when_to_come_again(alice: Tenant, api: APIClient) -> None:
    Tenant.objects.update(most_waiting_lookups=1)
    assert create(api).status_code == 202
    response = create(api)
    assert (response.status_code, response["Retry-After"]) == (429, "60")
    assert response.json()["code"] == "too_many_waiting_lookups"
    assert "At most 1 lookups of yours may wait" in response.json()["detail"]
    assert Search.objects.count() == 1


def test_past_what_a_tenant_may_store_a_search_is_a_409(alice: Tenant, api: APIClient) -> None:
    Tenant.objects.update(most_searches=1)
    first = create(api)
    response = create(api)
    assert (response.status_code, response.json()["code"]) == (409, "too_many_searches")
    assert "You may store 1 searches; delete some" in response.json()["detail"]
    assert api.delete(f"/v1/searches/{first.json()['id']}").status_code == 204
    assert create(api).status_code == 202


def test_past_what_a_tenant_may_store_a_new_picture_is_a_409(alice: Tenant, api: APIClient) -> None:
    Tenant.objects.update(most_images=0)
    for response in (create(api), api.post("/v1/images", {"image": order()["image"]}, format="json")):
        assert (response.status_code, response.json()["code"]) == (409, "too_many_images")
        assert "You may store 0 pictures" in response.json()["detail"]
    assert nothing_left()
