"""Examples on the pages about the API are taken as they are printed, and a field of a few words is documented as one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Mode, Tenant
from tests.api.examples import PICTURE, create_form
from tests.api.test_openapi import document, resolved, validator

CHROMIUM = Path("/usr/bin/chromium")


def examples(path: str) -> Iterator[Any]:
    for shown in document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"].values():
        if "id" not in shown["value"]["image"]:
            yield shown["value"]


@pytest.mark.parametrize("path", ["/v1/searches", "/v1/searches/quote", "/v1/images"])
def test_the_examples_of_pictures_are_taken(api: APIClient, sandbox: APIClient, path: str) -> None:
    for example in examples(path):
        for client in (api, sandbox):
            assert client.post(path, example, format="json").status_code in (200, 201, 202)


def test_the_form_has_an_example_that_is_taken(api: APIClient, sandbox: APIClient) -> None:
    form = document()["paths"]["/v1/searches"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    order = resolved(resolved(form)["properties"]["request"])
    assert resolved(form)["required"] == ["image", "request"]
    assert order["required"] == ["lookups"]
    for client in (api, sandbox):
        assert create_form(client, order["examples"][0]).status_code == 202


def test_a_form_without_a_file_may_name_a_picture(api: APIClient) -> None:
    image = api.post("/v1/images", next(examples("/v1/images")), format="json").json()["id"]
    request = {"image": {"id": image}, "lookups": [{"source": "tiktok-creators"}]}
    assert api.post("/v1/searches", {"request": json.dumps(request)}, format="multipart").status_code == 202


def test_every_example_in_a_schema_is_valid() -> None:
    shown = [
        (schema, example)
        for schema in document()["components"]["schemas"].values()
        for example in schema.get("examples", ())
    ]
    assert len(shown) >= 2
    for schema, example in shown:
        validator(schema).validate(example)


def test_words_of_which_there_are_few_are_enumerations() -> None:
    schemas = document()["components"]["schemas"]
    for name in ("source", "provider", "result_type", "mode", "status", "state"):
        for schema in schemas.values():
            described = schema.get("properties", {}).get(name, {"enum": []})
            assert (
                described.get("type") == "integer"
                or {"enum", "const", "$ref", "allOf", "oneOf"} & set(described)
                or name == "status"
            )
    for schema, name in (("Result", "type"), ("Delivery", "type"), ("Image", "format"), ("Problem", "code")):
        assert resolved(schemas[schema]["properties"][name])["enum"]
    path = "/v1/providers/{provider}/dictionaries/{name}"
    assert all(
        "enum" in each["schema"] for each in document()["paths"][path]["get"]["parameters"] if each.get("in") == "path"
    )


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}; install Debian's chromium.")
@pytest.mark.django_db(transaction=True)
def test_the_form_can_be_tried_out_in_a_browser(alice: Tenant, live_server: LiveServer, tmp_path: Path) -> None:
    secret = keys.issue(alice, Mode.TEST)[1]
    (tmp_path / "picture.jpg").write_bytes(PICTURE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page: Page = browser.new_page()
        # The document names PUBLIC_URL, where this test does not listen: the page calls the server that it came from.
        page.goto(f"{live_server.url}/docs#/searches/create_search")
        page.get_by_role("button", name="Authorize").first.click()
        page.locator(".auth-container input").fill(secret)
        page.locator(".auth-container").get_by_role("button", name="Apply credentials").click()
        page.locator(".auth-container .btn-done").click()
        operation = page.locator("#operations-searches-create_search")
        operation.get_by_role("button", name="Try it out").click()
        # The page fills in the example, with which the answer is held back until the search has ended: here it never does.
        operation.locator("tr[data-param-name=Prefer] input").fill("wait=0")
        operation.locator("select[aria-label='Request content type']").select_option("multipart/form-data")
        operation.locator("input[type=file]").set_input_files(tmp_path / "picture.jpg")
        operation.get_by_role("button", name="Execute").click()
        expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text(
            "202", timeout=60_000
        )
        # A list is read with what the page fills in, too.
        operation = page.locator("#operations-searches-list_searches")
        operation.locator(".opblock-summary").click()
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()
        status = operation.locator(".live-responses-table tbody .response-col_status").first
        expect(status).to_contain_text("200", timeout=60_000)
        browser.close()
