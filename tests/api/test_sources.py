"""The list of sources, with their parameters, prices and rate limits."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rest_framework import serializers
from rest_framework.test import APIClient

from accounts.models import Tenant
from billing.models import Price
from providers import json_schema, policies, registry
from providers.keyring import credentials
from providers.models import Policy
from tests.api.examples import create, lookup, made
from tests.api.test_lists import read_all
from tests.conftest import ClientOf


def source(api: APIClient) -> dict[str, Any]:
    return next(shown for shown in read_all(api, "/v1/sources") if shown["source"] == "tiktok-creators")


def test_a_source_says_all_that_a_caller_needs(api: APIClient) -> None:
    shown = source(api)
    adapter = registry.adapter("tiktok-creators")
    assert (shown["source"], shown["provider"], shown["result_type"]) == ("tiktok-creators", "modash", "creator")
    assert (shown["default_limit"], shown["max_results"]) == (20, 1500)
    assert shown["price"] == {"per_call": "0", "per_result": "0.025"}
    assert (shown["rate"]["calls"], shown["rate"]["window_ms"], shown["rate"]["scope"]) == (1, 1000, "provider")
    assert shown["line"] == {"waiting": 0, "expected_wait_seconds": 0}
    assert shown["caveats"] == list(adapter.caveats)
    assert shown["score_range"] is None


def test_each_source_tells_how_far_its_data_are_behind(api: APIClient) -> None:
    told = {shown["source"]: shown["lag"] for shown in read_all(api, "/v1/sources")}
    assert "four weeks" in told["tiktok-creators"]
    assert "within a week" in told["tiktok-creators"]
    assert "T+1" in told["tiktok-products"]
    assert "PARSE" in told["private-videos"]
    assert all(told.values())


def test_the_price_is_the_present_one(api: APIClient) -> None:
    Price.objects.create(source="tiktok-creators", per_call="2", per_result="0", valid_from="2026-01-02T00:00:00Z")
    Price.objects.exclude(per_call="2").delete()
    assert source(api)["price"] == {"per_call": "2", "per_result": "0"}
    Price.objects.all().delete()
    assert source(api)["price"] is None


def test_the_line_is_the_one_that_the_caller_would_stand_in(
    api: APIClient, sandbox: APIClient, bob: Tenant, client_of: ClientOf
) -> None:
    credentials.store(bob, "modash", "bobs-key")
    made(client_of(bob), lookups=[lookup()] * 3)
    assert source(api)["line"]["waiting"] == 3
    assert source(api)["line"]["expected_wait_seconds"] > 0
    assert source(sandbox)["line"]["waiting"] == 0


def test_an_accounts_own_lane_is_its_own(api: APIClient, bob: Tenant, client_of: ClientOf) -> None:
    policy = policies.of("modash")
    policy.scope = Policy.Scope.ACCOUNT
    policy.save()
    credentials.store(bob, "modash", "bobs-key")
    made(client_of(bob))
    assert source(api)["line"]["waiting"] == 0
    made(api)
    assert source(api)["line"]["waiting"] == 1
    assert "your own account" in source(api)["rate"]["whose"]


PARAMETERS = [
    {},
    {"followers_count": {"min": 13000, "max": 500000}, "locations": [148838], "gender": "FEMALE"},
    {"language": "en", "age": {"min": 18, "max": 35}, "engagement_rate": {"min": 0.04}, "has_email": True},
    {"brands": ["…"], "username": "someone", "max_post_age_months": 3, "content_type": "video"},
    {"gender": "female"},
    {"age": {"min": "18"}},
    {"age": {"min": 18, "middle": 20}},
    {"engagement_rate": {}},
    {"engagement_rate": {"min": 4}},
    {"locations": []},
    {"locations": ["148838"]},
    {"has_email": 1},
    {"username": "@someone"},
    {"username": ""},
    {"colour": "red"},
]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_the_schema_takes_what_the_api_takes(api: APIClient, parameters: dict[str, Any]) -> None:
    published = source(api)["parameters"]
    Draft202012Validator.check_schema(published)
    taken = create(api, lookups=[lookup(parameters=parameters)]).status_code == 202
    assert Draft202012Validator(published).is_valid(parameters) == taken


def test_a_kind_of_field_that_the_schema_cannot_say_is_an_error() -> None:
    class Strange(serializers.Serializer[Any]):
        when = serializers.DurationField()

    with pytest.raises(TypeError, match="DurationField"):
        json_schema.of(Strange)


def test_sources_are_paged(api: APIClient) -> None:
    assert [shown["source"] for shown in read_all(api, "/v1/sources", limit=1)] == sorted(registry.ADAPTERS)
