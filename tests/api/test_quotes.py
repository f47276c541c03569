"""`POST /v1/searches/quote`: what the same body would cost and be answered, while nothing is written."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import clock
from accounts.models import ApiKey, Mode, Tenant
from billing import ledger
from billing.models import Account, Hold, KeyCap, Price, TenantCap
from providers import policies
from providers.keyring import credentials, states
from providers.models import Credential, Policy
from searches.calls import outcomes
from searches.lanes import directory, pauses
from searches.models import Image, Lane
from searches.orders import search_quotes
from tests.api.examples import PICTURE, create, create_form, lookup, made
from tests.api.quoting import everything, quote, quoted, without_id
from tests.api.test_picture_url import answer as picture_answer
from tests.billing import passing
from tests.conftest import ClientOf
from tests.providers.wire import wire
from tests.searches import samples
from tests.searches.repeating import answer, claim_next


def encoded(content: bytes) -> dict[str, str]:
    return {"base64": b64encode(content).decode()}


def quote_form(client: APIClient, request: Any) -> Any:
    file = SimpleUploadedFile("picture.jpg", PICTURE, content_type="image/jpeg")
    return client.post("/v1/searches/quote", {"image": file, "request": json.dumps(request)}, format="multipart")


@pytest.fixture
def repeating(api: APIClient, alice: Tenant) -> APIClient:
    """Returns Alice with a live key, with repeats as they are for a new tenant."""
    Tenant.objects.filter(pk=alice.pk).update(max_age=3600)
    return api


# What it says


def test_a_quote_looks_as_the_contract_says(api: APIClient) -> None:
    body = quoted(api, lookups=[lookup(limit=40), lookup(limit=120)], max_credits={"modash": "10"})
    starts = [each.pop("estimated_start_at") for each in body["lookups"]]
    assert sorted(starts) == starts
    of_lookup = {"source": "tiktok-creators", "provider": "modash", "repeat": "miss", "repeat_of": None}
    limit = {"name": "max_credits", "provider": "modash", "size": "10", "used": "0", "held": "0", "asked": "4"}
    assert body == {
        "mode": "live",
        "allowed": True,
        "error": None,
        "lookups": [
            of_lookup | {"most_credits": "1", "waiting_on": "rate"},
            of_lookup | {"most_credits": "3", "waiting_on": "turn"},
        ],
        "providers": [
            {
                "provider": "modash",
                "asked": "4",
                "limits": [limit | {"left": "10", "short_by": "0", "renews_at": None}],
            }
        ],
    }


def test_each_limit_in_force_is_told_the_narrowest_first(api: APIClient, alice: Tenant) -> None:
    TenantCap.objects.create(tenant=alice, provider="modash", amount=Decimal(9))
    KeyCap.objects.create(api_key=ApiKey.objects.get(), provider="modash", amount=Decimal(8))
    ledger.grant(ledger.account_of(alice, "modash"), Decimal(7))
    made(api, lookups=[lookup(limit=40)])
    ledger.charge(Hold.objects.get().reference, Decimal("0.25"), key="call")
    [provider] = quoted(api, lookups=[lookup(limit=120), lookup(limit=120)], max_credits={"modash": "5"})["providers"]
    names = ("name", "size", "used", "held", "left", "short_by")
    assert provider["asked"] == "6"
    assert [tuple(limit[name] for name in names) for limit in provider["limits"]] == [
        ("max_credits", "5", "0", "0", "5", "1"),
        ("key_cap", "8", "0.25", "0.75", "7", "0"),
        ("tenant_cap", "9", "0.25", "0.75", "8", "0"),
        ("balance", "6.75", "0", "0.75", "6", "0"),
    ]
    renew = [limit["renews_at"] for limit in provider["limits"]]
    assert renew[0] is renew[3] is None
    assert renew[1] == renew[2] > f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"


def test_limits_are_told_of_a_provider_where_the_tenant_has_no_account_yet(api: APIClient, alice: Tenant) -> None:
    TenantCap.objects.create(tenant=alice, provider="modash", amount=Decimal("0.4"))
    body = quoted(api)
    [limit] = body["providers"][0]["limits"]
    assert (body["allowed"], limit["left"], limit["short_by"]) == (False, "0.4", "0.1")
    assert not Account.objects.exists()


def test_a_test_keys_search_costs_nothing_and_meets_no_limit(sandbox: APIClient, alice: Tenant) -> None:
    TenantCap.objects.create(tenant=alice, provider="modash", amount=Decimal(0))
    body = quoted(sandbox, lookups=[lookup(limit=40)], max_credits={"modash": "0"})
    assert (body["mode"], body["allowed"], body["lookups"][0]["most_credits"]) == ("test", True, "0")
    assert body["providers"] == [{"provider": "modash", "asked": "0", "limits": []}]


@pytest.mark.parametrize("limit", ["max_credits", "key", "tenant", "balance", "price"])
def test_what_a_submit_would_refuse_is_a_200_with_its_code_its_sentence_and_its_limit(
    api: APIClient, alice: Tenant, limit: str
) -> None:
    less = Decimal("0.4")
    if limit == "key":
        KeyCap.objects.create(api_key=ApiKey.objects.get(), provider="modash", amount=less)
    if limit == "tenant":
        TenantCap.objects.create(tenant=alice, provider="modash", amount=less)
    if limit == "balance":
        ledger.grant(ledger.account_of(alice, "modash"), less)
    if limit == "price":
        Price.objects.all().delete()
    order = {"max_credits": {"modash": "0.4"}} if limit == "max_credits" else {}
    body, refusal = quoted(api, **order), create(api, **order)
    assert (refusal.status_code, body["allowed"]) == (402, False)
    problem = refusal.json()
    assert body["error"] == {"code": problem["code"], "detail": problem["detail"], "limit": problem.get("limit")}
    assert ("limit" in problem) == (limit != "price")


def test_a_lookup_without_a_price_has_no_cost_and_the_others_have_theirs(api: APIClient, alice: Tenant) -> None:
    credentials.store(alice, "keyapi", "a-keyapi-key")
    Price.objects.filter(source="tiktok-products").delete()
    body = quoted(api, lookups=[lookup(), lookup(source="tiktok-products")])
    assert [each["most_credits"] for each in body["lookups"]] == ["0.5", None]
    assert body["error"]["code"] == "price_missing"
    assert "tiktok-products has no price" in body["error"]["detail"]


def test_a_submit_freezes_the_price_in_force_then_whatever_was_quoted(api: APIClient) -> None:
    assert quoted(api)["lookups"][0]["most_credits"] == "0.5"
    Price.objects.create(source="tiktok-creators", per_result=Decimal("0.03"))
    made(api)
    assert Hold.objects.get().open == Decimal("0.6")
    assert quoted(api)["lookups"][0]["most_credits"] == "0.6"


# Repeats


def test_a_picture_that_is_not_stored_is_known_by_its_pixels(repeating: APIClient) -> None:
    first = made(repeating, image=encoded(samples.png()))
    outcomes.answered(claim_next(), answer(3))
    other_file = samples.written(samples.picture(), "BMP")
    [hit] = quoted(repeating, image=encoded(other_file))["lookups"]
    assert (hit["repeat"], hit["repeat_of"], hit["most_credits"]) == ("hit", str(first.lookups.get().pk), "0")
    assert (hit["estimated_start_at"], hit["waiting_on"]) == (None, None)
    assert Image.objects.count() == 1


def test_a_lookup_that_would_follow_another_costs_nothing_and_starts_with_it(repeating: APIClient) -> None:
    first = made(repeating)
    [follower] = quoted(repeating)["lookups"]
    assert (follower["repeat"], follower["repeat_of"]) == ("coalesced", str(first.lookups.get().pk))
    assert (follower["most_credits"], follower["waiting_on"]) == ("0", "rate")
    claim_next()
    assert quoted(repeating)["lookups"][0]["waiting_on"] == "turn"


def test_equal_lookups_of_one_order_cost_one(repeating: APIClient) -> None:
    body = quoted(repeating, lookups=[lookup(), lookup(), lookup(limit=30)])
    assert [each["repeat"] for each in body["lookups"]] == ["miss", "coalesced", "miss"]
    assert [each["most_credits"] for each in body["lookups"]] == ["0.5", "0", "0.75"]
    assert {each["repeat_of"] for each in body["lookups"]} == {None}
    assert body["lookups"][0]["estimated_start_at"] is not None
    assert body["providers"][0]["asked"] == "1.25"


def test_a_repeat_fits_where_no_credits_are_left(repeating: APIClient, alice: Tenant) -> None:
    TenantCap.objects.create(tenant=alice, provider="modash", amount=Decimal("0.5"))
    made(repeating)
    assert quoted(repeating)["allowed"] is True
    assert quoted(repeating, max_age=0)["allowed"] is False
    assert create(repeating).status_code == 202


def test_a_stranger_with_the_same_picture_learns_nothing(
    repeating: APIClient, bob: Tenant, client_of: ClientOf
) -> None:
    made(repeating)
    outcomes.answered(claim_next(), answer(3))
    credentials.store(bob, "modash", "alices-modash-key")
    Tenant.objects.filter(pk=bob.pk).update(max_age=3600)
    assert quoted(client_of(bob))["lookups"][0]["repeat"] == "miss"


# The start


def test_the_start_is_the_one_that_the_submit_then_says(api: APIClient, bob: Tenant, client_of: ClientOf) -> None:
    credentials.store(bob, "modash", "bobs-modash-key")
    made(client_of(bob), lookups=[lookup(), lookup(limit=400)])
    # Fixed, however long each request takes.
    Lane.objects.update(claimed_at=clock.now() + timedelta(minutes=1))
    for priority in (0, 3, -3, 3):
        wanted = {"lookups": [lookup(limit=200), lookup()], "priority": priority}
        foretold = quoted(api, **wanted)["lookups"]
        told = create(api, **wanted).json()["lookups"]
        for name in ("estimated_start_at", "waiting_on"):
            assert [each[name] for each in foretold] == [each[name] for each in told]


def test_a_lane_that_operators_paused_has_no_time(api: APIClient) -> None:
    made(api)
    pauses.pause(Lane.objects.get())
    [only] = quoted(api)["lookups"]
    assert (only["estimated_start_at"], only["waiting_on"]) == (None, "paused")


def test_a_dead_credential_is_waited_for(api: APIClient) -> None:
    states.mark(Credential.objects.get(), Credential.State.INVALID)
    [only] = quoted(api)["lookups"]
    assert (only["estimated_start_at"], only["waiting_on"]) == (None, "credential")


def test_lookups_of_a_lane_that_does_not_exist_yet_start_one_after_the_other(sandbox: APIClient) -> None:
    starts = [each["estimated_start_at"] for each in quoted(sandbox, lookups=[lookup(limit=300), lookup()])["lookups"]]
    assert starts == sorted(starts)
    assert starts[0] != starts[1]
    assert not Lane.objects.exists()


# Nothing is done


@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.TEST])
def test_a_quote_writes_no_row_and_no_file(alice: Tenant, client_of: ClientOf, mode: Mode) -> None:
    """Not even the policy and the lane of a provider that was never asked."""
    credentials.store(alice, "modash", "alices-modash-key")
    Policy.objects.all().delete()
    client = client_of(alice, mode)
    before = everything()
    quoted(client, lookups=[lookup(), lookup(limit=400)], max_credits={"modash": "1"})
    assert quote_form(client, {"lookups": [lookup()]}).status_code == 200
    assert (
        quote(client, image=encoded(samples.png()), crop={"x": 0, "y": 0, "width": 0.5, "height": 1}).status_code == 200
    )
    assert quote(client, image=encoded(samples.TEXT)).status_code == 400
    assert everything() == before


def test_a_quote_of_a_stored_picture_writes_nothing(repeating: APIClient) -> None:
    """Though a crop of it, or another provider, needs a rendering that is not there yet."""
    credentials.store(Tenant.objects.get(), "keyapi", "a-keyapi-key")
    id = str(samples.image_of(made(repeating)).pk)
    outcomes.answered(claim_next(), answer(3))
    made(repeating, lookups=[lookup(limit=30)])
    before = everything()
    crop = {"x": 0, "y": 0, "width": 0.5, "height": 1}
    for image in ({"id": id}, encoded(PICTURE)):
        lookups = [lookup(), lookup(limit=30), lookup(source="tiktok-products")]
        body = quoted(repeating, image=image, lookups=lookups)
        assert [each["repeat"] for each in body["lookups"]] == ["hit", "coalesced", "miss"]
        assert quoted(repeating, image=image, crop=crop)["lookups"][0]["repeat"] == "miss"
    assert everything() == before


def test_the_database_refuses_whatever_a_quote_would_write(db: None) -> None:
    with search_quotes.read_only(), connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("on",)


@pytest.mark.django_db(transaction=True)
def test_a_url_is_fetched_once_as_in_a_submit_and_nothing_is_kept(api: APIClient, settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.1/32")]
    before = everything()
    with wire(picture_answer()) as it:
        assert quoted(api, image={"url": f"{it.url}/a.jpg"})["allowed"] is True
    assert len(it.callers) == 1
    assert everything() == before


def test_a_form_is_quoted_as_it_is_submitted(api: APIClient) -> None:
    request = {"lookups": [lookup(limit=40)]}
    assert quote_form(api, request).json()["lookups"][0]["most_credits"] == "1"
    assert create_form(api, request).json()["lookups"][0]["credits"]["held"] == "1"
    wrong_ones: list[Any] = [{}, {"lookups": []}, {"lookups": [lookup(limit=30, offset=40)]}]
    for wrong in wrong_ones:
        assert without_id(quote_form(api, wrong)) == without_id(create_form(api, wrong))


def test_an_account_lane_is_quoted_before_it_exists(api: APIClient, alice: Tenant) -> None:
    policies.of("modash")
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    assert quoted(api)["lookups"][0]["waiting_on"] == "rate"
    policy, fingerprint = Policy.objects.get(), Credential.objects.get().fingerprint
    name = directory.lane_name(policy, mode=Mode.LIVE, tenant_id=alice.pk, fingerprint=fingerprint)
    assert not Lane.objects.filter(name=name).exists()


def test_a_balance_is_told_without_what_has_expired(api: APIClient, alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal("1.5"), expires_at=passing.expires_in(days=1))
    ledger.grant(account, Decimal("0.25"))
    passing.has_ended(1)
    before = everything()
    body = quoted(api)
    [balance] = body["providers"][0]["limits"]
    assert (body["allowed"], balance["size"], balance["short_by"]) == (False, "0.25", "0.25")
    assert everything() == before
    assert create(api).json()["detail"] == body["error"]["detail"]
