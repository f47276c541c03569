"""The page to which the `type` of a problem leads, and the errors that a browser gets outside /v1."""

from __future__ import annotations

import html
import json
import re

import pytest
from django.test import Client

from accounts.models import User
from config import views
from config.problem_codes import PROBLEMS, ProblemType
from searches.api import strict_json
from tests.api.test_openapi import document, validator

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
CURL, PROGRAM = {"Accept": "*/*"}, {"Accept": "application/json"}
each_problem = pytest.mark.parametrize(("code", "kind"), PROBLEMS.items(), ids=PROBLEMS)


@pytest.fixture(scope="module")
def page() -> str:
    response = Client().get("/docs/errors")
    assert response["Content-Type"].startswith("text/html")
    assert response["Content-Security-Policy"] == views.CONTENT_POLICY
    return response.content.decode()


def section(page: str, code: str) -> str:
    """Returns the text of a code's section, as a browser shows it."""
    found = re.search(rf'<section id="{code}">(.*?)</section>', page, re.DOTALL)
    assert found
    return html.unescape(re.sub(r"<[^>]+>", "", found[1]))


@each_problem
def test_a_code_has_a_section_that_says_what_happened_and_what_to_do(page: str, code: str, kind: ProblemType) -> None:
    text = section(page, code)
    for sentence in (kind.title, kind.happened, kind.mend):
        assert sentence.replace("`", "") in text
    assert f'<a href="#{code}"' in page


@each_problem
def test_a_section_shows_an_answer_of_the_contract(page: str, code: str, kind: ProblemType) -> None:
    text = section(page, code)
    shown = json.loads(text[text.index("{\n") :])
    validator(document()["components"]["schemas"]["Problem"]).validate(shown)
    assert (shown["code"], shown["status"], shown["detail"]) == (code, kind.status, kind.detail)
    assert shown["type"].endswith(f"/docs/errors#{code}")


def test_the_example_of_a_broken_body_is_in_the_words_of_an_answer() -> None:
    with pytest.raises(strict_json.UnreadableJSON) as broken:
        strict_json.loads(b'{"a": 1,\n"b": 2\n    "c": 3}')
    assert PROBLEMS["malformed_body"].detail == f"The body {broken.value}."


def test_a_section_names_the_routes_of_the_code(page: str) -> None:
    assert "POST /v1/searchesPOST /v1/searches/{id}/retry" in section(page, "price_missing")
    assert "DELETE /v1/images/{id}" in section(page, "image_in_use")
    for code in PROBLEMS:
        assert re.search(r"Where\s*(Every (route|POST|path)|[A-Z]+ /v1/)", section(page, code)), code


MISSING = ["/nothing", "/docs/", "/docs/problems", "/static/nothing.css", "/admin/r/1/2"]


@pytest.mark.parametrize("path", MISSING)
def test_an_unknown_path_outside_v1_is_a_page_for_browsers_and_a_problem_for_programs(
    client: Client, path: str
) -> None:
    shown = client.get(path, headers=BROWSER)
    assert (shown.status_code, shown["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page" in shown.content.decode()
    for headers in (CURL, PROGRAM, {}):
        told = client.get(path, headers=headers)
        assert (told.status_code, told["Content-Type"]) == (404, "application/problem+json")
        assert told.json()["request_id"] == told["X-Request-Id"]


def test_a_browser_gets_a_problem_below_v1(client: Client) -> None:
    assert client.get("/v1/nothing", headers=BROWSER)["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/"])
def test_a_form_from_elsewhere_is_told_what_to_do(db: None, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    shown = client.post(path, {"username": "a"}, headers=BROWSER)
    assert (shown.status_code, shown["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert "load it again and send the form from there" in shown.content.decode()
    told = client.post(path, {"username": "a"}, headers=PROGRAM)
    assert (told.status_code, told.json()["code"]) == (403, "permission_denied")


def test_what_an_operator_may_not_see_is_a_page(db: None, client: Client) -> None:
    client.force_login(User.objects.create_user("guest", is_staff=True))
    shown = client.get("/admin/accounts/tenant/", headers=BROWSER)
    assert shown.status_code == 403
    assert "Your account may not" in shown.content.decode()
    assert '<a href="/admin/">' in shown.content.decode()
