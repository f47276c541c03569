"""Tests the free calls to Modash against the sandbox and against chosen answers, over real sockets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest
from pytest_django import Settings

from providers import registry
from providers.contract import Access, ProviderAccount, Secret, Term
from providers.failures import BadCredential, Exhausted, Failure, Faulty, Garbled, Refused, Throttled
from providers.http import ProviderClient
from tests.providers.conftest import Provider, Site
from tests.providers.lanes import any_token

MODASH = registry.FREE_CALLS["modash"]
KEY = "a-modash-key"
BRANDS_PATH = "/tiktok/brands"


def access(url: str, key: str = KEY) -> Access:
    client = ProviderClient(connect_seconds=2, total_seconds=2)
    return Access(secret=Secret(value=key), base_url=url, client=client, token=any_token())


def account(provider: Provider, body: Any, **reply: Any) -> ProviderAccount:
    provider.answers(body, **reply)
    return MODASH.account(access(provider.url))


def terms(provider: Provider, name: str, body: Any, query: str = "") -> tuple[Term, ...]:
    provider.answers(body)
    return MODASH.dictionary(name, query, access(provider.url))


def test_the_sandbox_describes_a_keys_account(site: Site) -> None:
    described = MODASH.account(access(f"{site.url}/modash/v1"))
    assert described.credits == Decimal(1_000_000)
    assert set(described.limits) == {"rateLimits", "rawRequests"}


def test_the_request_is_as_documented(provider: Provider) -> None:
    account(provider, {"error": False, "user": {}, "billing": {"credits": 1.5}})
    assert (provider.headers["REQUEST_METHOD"], provider.headers["PATH_INFO"]) == ("GET", "/user/info")
    assert provider.headers["HTTP_AUTHORIZATION"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("body", "credits"),
    [
        ({"user": {}, "billing": {"credits": 12.35}}, Decimal("12.35")),
        ({"billing": {"credits": 0}}, Decimal(0)),
        ({"billing": {"credits": "many"}}, None),
        ({"user": {"id": "1"}}, None),
    ],
)
def test_missing_fields_are_left_out_and_fail_nothing(
    provider: Provider, body: dict[str, Any], credits: Decimal | None
) -> None:
    assert account(provider, body).credits == credits


def test_a_key_that_modash_quotes_is_not_kept(provider: Provider) -> None:
    body = {"user": {}, "billing": {"credits": 1}, "rateLimits": {"token": KEY}}
    assert account(provider, body).limits == {}


def test_limits_without_end_are_not_kept(provider: Provider) -> None:
    body = {"user": {}, "billing": {}, "rateLimits": {str(number): number for number in range(1000)}}
    assert account(provider, body).limits == {}


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (401, {"error": True, "code": "api_token_invalid"}, BadCredential),
        (200, {"error": True, "code": "api_token_invalid"}, BadCredential),
        (402, {"error": True, "code": "not_enough_credits"}, Exhausted),
        (403, {"error": True, "code": "feature_not_available"}, Refused),
        (429, {"error": True, "code": "too_many_requests"}, Throttled),
        (500, {"error": True, "code": "internal_server_error"}, Faulty),
        (503, b"<html>", Faulty),
        (200, b"<html>", Garbled),
        (200, {}, Garbled),
        (200, [], Garbled),
        (302, {}, Garbled),
    ],
)
def test_failures_are_classified_like_those_of_searches(
    provider: Provider, status: int, body: Any, failure: type[Failure]
) -> None:
    with pytest.raises(failure) as raised:
        account(provider, body, status=status)
    assert type(raised.value) is failure
    assert KEY not in raised.value.detail


def test_locations_have_the_values_of_the_filter(provider: Provider) -> None:
    line = {"id": 148838, "name": "United States", "title": "United States of America"}
    found = terms(provider, "locations", {"error": False, "locations": [line], "total": 1}, "united")
    assert found == (Term(value=148838, name="United States", title="United States of America"),)
    assert provider.headers["PATH_INFO"] == "/tiktok/locations"
    assert parse_qs(provider.headers["QUERY_STRING"]) == {"query": ["united"], "limit": ["100"]}


def test_languages_are_filtered_here(provider: Provider) -> None:
    lines = [{"code": "en", "name": "English"}, {"code": "de", "name": "German"}, {"code": "nds", "name": "Low German"}]
    found = terms(provider, "languages", {"languages": lines}, "german")
    assert [term.value for term in found] == ["de", "nds"]
    assert provider.headers["QUERY_STRING"] == ""


def test_brands_are_at_the_address_of_a_setting(provider: Provider, settings: Settings) -> None:
    assert MODASH.dictionaries() == ("locations", "languages", "users")
    settings.MODASH_BRANDS_PATH = BRANDS_PATH
    assert MODASH.dictionaries() == ("locations", "languages", "users", "brands")
    found = terms(provider, "brands", {"brands": [{"id": 7, "name": "Tidewater"}, "Fjell"]})
    assert [(term.value, term.name) for term in found] == [("Tidewater", "Tidewater"), ("Fjell", "Fjell")]
    assert provider.headers["PATH_INFO"] == BRANDS_PATH


@pytest.mark.parametrize("name", ["locations", "languages", "users", "brands"])
def test_the_sandbox_has_all_dictionaries(site: Site, settings: Settings, name: str) -> None:
    settings.MODASH_BRANDS_PATH = BRANDS_PATH
    found = MODASH.dictionary(name, "", access(f"{site.url}/modash/v1"))
    assert len(found) >= 5
    named = MODASH.dictionary(name, found[0].name, access(f"{site.url}/modash/v1"))
    assert found[0] in named
    assert len(named) < len(found)


def test_users_are_found_by_either_name_and_named_as_the_filter_takes_them(provider: Provider) -> None:
    user = {
        "userId": "1",
        "username": "ada.l",
        "fullname": "Ada",
        "followers": 35000,
        "picture": "…",
        "isVerified": True,
    }
    found = terms(
        provider, "users", {"users": [user, {"username": "bob", "followers": -1}, {"fullname": "Nobody"}]}, "a"
    )
    assert [(term.value, term.name, term.title) for term in found] == [
        ("ada.l", "Ada", "35,000 followers, verified"),
        ("bob", "bob", ""),
    ]
    assert provider.headers["PATH_INFO"] == "/tiktok/users"
    assert provider.headers["QUERY_STRING"] == "query=a&limit=100"


def test_a_line_without_a_value_is_skipped(provider: Provider) -> None:
    lines = [7, {"name": "no id"}, {"id": 62149, "name": "United Kingdom"}, {"id": None}, {"id": 10**400, "name": "x"}]
    [term] = terms(provider, "locations", {"locations": lines})
    assert (term.value, term.name) == (62149, "United Kingdom")


def test_the_sandbox_gives_a_rejected_key_no_terms(site: Site) -> None:
    with pytest.raises(BadCredential):
        MODASH.dictionary("locations", "", access(f"{site.url}/modash/v1", "sandbox_rejected"))


def test_nothing_that_matches_is_an_empty_answer(provider: Provider) -> None:
    assert terms(provider, "locations", {"error": True, "code": "no_result"}) == ()
    assert terms(provider, "locations", {"locations": []}) == ()


@pytest.mark.parametrize("lines", [None, {}, [1], [{"name": "no id"}], [{"id": True, "name": "x"}], [{"id": None}]])
def test_a_dictionary_that_cannot_be_read_is_no_half_one(provider: Provider, lines: Any) -> None:
    with pytest.raises(Garbled):
        terms(provider, "locations", {"locations": lines})
