"""Dictionaries: asked of the provider with a tenant's own key, at no cost, and kept for everybody who has one."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.cache.backends import locmem
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Tenant
from providers import policies
from providers.keyring import credentials, sealing
from providers.models import Credential, Policy
from tests.api.test_lists import read_all
from tests.api.test_openapi import described
from tests.api.test_problems import problem_of
from tests.conftest import ClientOf
from tests.providers.conftest import Provider, Site, provider, shared_sandbox, site

__all__ = ["provider", "shared_sandbox", "site"]

ROUTE = "/v1/providers/{provider}/dictionaries/{name}"
LOCATIONS = "/v1/providers/modash/dictionaries/locations"
UNITED = {"error": False, "locations": [{"id": 148838, "name": "United States", "title": "United States"}], "total": 1}


@pytest.fixture(autouse=True)
def brisk(db: None) -> None:
    """Makes lanes that hardly wait and are new, and an empty cache."""
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    redis.Redis.from_url(django_settings.REDIS_URL).flushdb()
    cache.clear()


@pytest.fixture
def api(api: APIClient) -> APIClient:
    """Sees a 5xx as its caller does."""
    api.raise_request_exception = False
    return api


@pytest.fixture
def modash(provider: Provider, settings: Settings) -> Provider:
    settings.MODASH_BASE_URL = provider.url
    provider.answers(UNITED)
    return provider


def found(client: APIClient, path: str = LOCATIONS, **query: Any) -> list[dict[str, Any]]:
    response = client.get(path, query)
    assert response.status_code == 200, response.content
    data: list[dict[str, Any]] = response.json()["data"]
    return data


def asked(modash: Provider) -> bool:
    """Returns whether the provider was asked since the last call of this."""
    was, modash.headers = bool(modash.headers), {}
    return was


def test_it_gives_what_the_searchs_parameter_takes(api: APIClient, modash: Provider) -> None:
    assert found(api, query="united") == [{"value": 148838, "name": "United States", "title": "United States"}]
    assert modash.headers["HTTP_AUTHORIZATION"] == "Bearer alices-modash-key"


@pytest.mark.parametrize("name", ["locations", "languages", "brands"])
def test_the_sandbox_has_them_for_live_and_for_test_keys(
    api: APIClient, sandbox: APIClient, site: Site, settings: Settings, name: str
) -> None:
    settings.SANDBOX_URL, settings.MODASH_BRANDS_PATH = site.url, "/tiktok/brands"
    settings.MODASH_BASE_URL = f"{site.url}/modash/v1"
    path = ROUTE.format(provider="modash", name=name)
    assert found(api, path) == found(sandbox, path) != []


def test_a_test_key_needs_no_credential_and_asks_no_provider(
    sandbox: APIClient, site: Site, modash: Provider, settings: Settings
) -> None:
    settings.SANDBOX_URL = site.url
    assert [row["name"] for row in found(sandbox, query="united")] == ["United States", "United Kingdom"]
    assert not asked(modash)


def test_an_answer_is_kept_for_a_day_for_everybody_with_a_key(
    api: APIClient, modash: Provider, bob: Tenant, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.store(bob, "modash", "bobs-modash-key")
    started = time.time()
    first = found(api, query="united")
    assert asked(modash)
    assert found(api, query="  UNITED ") == found(client_of(bob), query="united") == first
    assert not asked(modash)
    found(api, query="states")
    assert asked(modash)
    for hours, is_asked in ((23, False), (25, True)):
        monkeypatch.setattr(locmem, "time", SimpleNamespace(time=lambda at=started + hours * 3600: at))
        assert found(api, query="united") == first
        assert asked(modash) is is_asked


def named(*names: str) -> dict[str, Any]:
    return {"error": False, "locations": [{"id": 1, "name": name, "title": name} for name in names], "total": 1}


def test_a_huge_answer_is_given_and_not_kept(api: APIClient, modash: Provider) -> None:
    modash.answers(named(*("x" * 1000 for _ in range(100))))
    for _ in range(2):
        assert len(found(api, limit=100)) == 100
        assert asked(modash)


def test_what_the_sandbox_says_is_not_taken_for_the_providers_word(
    api: APIClient, sandbox: APIClient, site: Site, modash: Provider, settings: Settings
) -> None:
    settings.SANDBOX_URL = site.url
    found(sandbox)
    assert len(found(api)) == 1
    assert asked(modash)


def test_who_has_no_key_may_not_even_read_what_is_kept(api: APIClient, stranger: APIClient, modash: Provider) -> None:
    found(api)
    assert problem_of(stranger.get(LOCATIONS))["code"] == "credential_missing"


def test_it_is_read_page_by_page(sandbox: APIClient, site: Site, settings: Settings) -> None:
    settings.SANDBOX_URL = site.url
    assert len(read_all(sandbox, LOCATIONS, limit=4)) == 6
    assert [row["value"] for row in read_all(sandbox, LOCATIONS, limit=4)] == [
        row["value"] for row in found(sandbox, limit=100)
    ]


@pytest.mark.parametrize(("where", "name"), [("keyapi", "locations"), ("nobody", "brands"), ("modash", "brands")])
def test_one_that_is_not_there_is_a_404_that_says_which_are(api: APIClient, where: str, name: str) -> None:
    problem = problem_of(api.get(ROUTE.format(provider=where, name=name)))
    assert (problem["status"], "modash has locations, languages" in problem["detail"]) == (404, True)


@pytest.mark.parametrize(
    ("query", "field"), [({"query": "x" * 101}, "query"), ({"q": "x"}, "q"), ({"limit": 0}, "limit")]
)
def test_a_wrong_parameter_is_named(api: APIClient, query: dict[str, Any], field: str) -> None:
    assert [error["field"] for error in problem_of(api.get(LOCATIONS, query))["errors"]] == [field]


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [(401, "api_token_invalid", "invalid"), (402, "not_enough_credits", "exhausted")],
)
def test_a_key_that_the_provider_refuses_is_a_409_and_noted(
    api: APIClient, modash: Provider, status: int, code: str, state: str
) -> None:
    modash.answers({"error": True, "code": code, "message": "alices-modash-key"}, status=status)
    problem = problem_of(api.get(LOCATIONS))
    assert (problem["status"], problem["code"]) == (409, "credential_unusable")
    assert "alices-modash-key" not in problem["detail"]
    assert Credential.objects.get().state == state


def test_a_key_that_is_known_to_be_refused_is_not_tried_again(api: APIClient, modash: Provider) -> None:
    Credential.objects.update(state=Credential.State.INVALID)
    assert problem_of(api.get(LOCATIONS))["code"] == "credential_unusable"
    assert not asked(modash)
    Credential.objects.update(state=Credential.State.EXHAUSTED)
    assert len(found(api)) == 1


def test_a_key_that_cannot_be_opened_says_what_to_do(api: APIClient, modash: Provider) -> None:
    Credential.objects.update(sealed=b"no longer what it was")
    problem = problem_of(api.get(LOCATIONS))
    assert (problem["code"], problem["detail"]) == ("credential_unusable", sealing.NEEDS_REENTRY)


@pytest.mark.parametrize("status", [200, 302, 404, 429, 500])
def test_trouble_with_the_provider_is_a_503_and_not_kept(api: APIClient, modash: Provider, status: int) -> None:
    modash.answers(b"<html>", status=status)
    response = api.get(LOCATIONS)
    assert problem_of(response)["code"] == "provider_unavailable"
    assert int(response["Retry-After"]) > 0
    assert Credential.objects.get().state == "unknown"
    if status != 429:
        modash.answers(UNITED)
        assert len(found(api)) == 1


def test_without_redis_it_says_so(api: APIClient, modash: Provider, settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        settings.REDIS_URL = f"redis://127.0.0.1:{gone.getsockname()[1]}"
    problem = problem_of(api.get(LOCATIONS))
    assert (problem["code"], "Redis" in problem["detail"]) == ("provider_unavailable", True)


def test_all_of_it_is_as_described(api: APIClient, stranger: APIClient, modash: Provider) -> None:
    for client, query in ((api, {}), (stranger, {}), (api, {"limit": 0})):
        described(ROUTE, "get", client.get(LOCATIONS, query))
    described(ROUTE, "get", api.get(ROUTE.format(provider="modash", name="brands")))
    modash.answers(b"", status=500)
    described(ROUTE, "get", api.get(LOCATIONS, {"query": "x"}))
