"""Pages of tenants and operators are kept by no cache, and a page does what it must and no more."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import Tenant
from tests import programs
from tests.conftest import ClientOf

POLICY = "Content-Security-Policy"


@pytest.fixture
def api(alice: Tenant, client_of: ClientOf) -> APIClient:
    return client_of(alice)


def test_no_cache_keeps_an_answer_that_shows_a_secret(api: APIClient) -> None:
    made = api.post("/v1/webhook-endpoints", {"url": "https://shop.example/hooks"}, format="json")
    rotated = api.post(f"/v1/webhook-endpoints/{made.json()['id']}/rotate-secret", {}, format="json")
    for answer in (made, rotated):
        assert answer.json()["secret"].startswith("whsec_")
        assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/v1/searches", "/v1/credits", "/v1/nowhere", "/v1/searches?limit=x"])
def test_no_cache_keeps_any_answer_of_the_api(api: APIClient, path: str) -> None:
    assert "no-store" in api.get(path)["Cache-Control"]


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/admin/accounts/apikey/add/", "/admin/nowhere"])
def test_pages_of_the_admin_run_no_script_but_their_own(client: Client, db: None, path: str) -> None:
    answer = client.get(path, follow=True)
    assert "no-store" in answer["Cache-Control"]
    policy = policy_of(answer)
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert (policy["default-src"], policy["base-uri"], policy["frame-ancestors"]) == ("'none'",) * 3


def policy_of(answer: Any) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in answer[POLICY].split("; "))


@pytest.mark.parametrize("path", ["/docs", "/docs/errors"])
def test_a_page_about_the_api_runs_files_of_ours_alone(client: Client, db: None, path: str) -> None:
    policy = policy_of(client.get(path))
    assert policy.get("script-src", policy["default-src"]) == "'self'"


@pytest.mark.parametrize("path", ["/nowhere", "/v1/openapi.json", "/static/unfold/css/styles.css"])
def test_any_other_answer_loads_and_runs_nothing(client: Client, db: None, path: str) -> None:
    with closing(client.get(path, headers={"Accept": "text/html"})) as answer:
        policy = policy_of(answer)
    assert "script-src" not in policy
    assert (policy["default-src"], policy["base-uri"], policy["frame-ancestors"]) == ("'none'",) * 3


def test_an_answer_of_the_api_may_do_nothing_in_a_browser(api: APIClient) -> None:
    for path in ("/v1/searches", "/v1/nowhere"):
        policy = policy_of(api.get(path))
        assert policy == dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'")


@pytest.mark.parametrize("path", ["/admin/login/", "/docs", "/v1/searches", "/nowhere"])
def test_every_answer_has_the_headers_of_a_careful_server(client: Client, db: None, path: str) -> None:
    answer = client.get(path)
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]


def test_a_style_in_a_page_has_the_nonce_of_the_answer(client: Client, db: None) -> None:
    first, second = client.get("/admin/login/"), client.get("/admin/login/")
    for answer in (first, second):
        (nonce,) = set(re.findall(r'<style[^>]* nonce="([^"]+)"', answer.content.decode()))
        assert policy_of(answer)["style-src"] == f"'self' 'nonce-{nonce}'"
        assert not re.search(r"<style(?![^>]* nonce=)", answer.content.decode())
    assert policy_of(first)["style-src"] != policy_of(second)["style-src"]


def test_pages_are_compressed_and_other_answers_are_not(client: Client, api: APIClient) -> None:
    takes = {"Accept-Encoding": "gzip"}
    page = client.get("/admin/login/", headers=takes)
    assert page["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in page["Vary"]
    assert "Content-Encoding" not in api.get("/v1/searches", headers=takes)


def test_no_template_of_ours_has_a_script_or_a_handler_in_it() -> None:
    """The content policy would block it."""
    for template in programs.CHECKOUT.glob("*/templates/**/*.html"):
        text = template.read_text()
        assert not re.search(r"[\s\"']on\w+=|<script(?![^>]*\ssrc=)|javascript:", text), template
