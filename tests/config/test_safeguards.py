"""Pages of tenants and operators are kept by no cache, and a page does what it must and no more."""

from __future__ import annotations

import re

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
    policy = dict(part.split(" ", 1) for part in answer[POLICY].split("; "))
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert (policy["default-src"], policy["base-uri"], policy["frame-ancestors"]) == ("'none'",) * 3


def test_the_documents_keep_their_own_policy_and_other_pages_may_do_nothing(client: Client, db: None) -> None:
    assert "script-src 'self'; style-src 'self';" in client.get("/docs")[POLICY]
    assert client.get("/nowhere", headers={"Accept": "text/html"})[POLICY].startswith("default-src 'none'")


def test_no_template_of_ours_has_a_script_or_a_handler_in_it() -> None:
    """The content policy would block it."""
    for template in programs.CHECKOUT.glob("*/templates/**/*.html"):
        text = template.read_text()
        assert not re.search(r"\son\w+=|<script(?![^>]*\ssrc=)|javascript:", text), template
