"""The first page: what it gives to whom, and that a browser tries a search with it."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect, sync_playwright
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from accounts import keys
from accounts.models import Mode, Tenant
from config import try_page
from searches.models import Search
from tests.api.examples import PICTURE

CHROMIUM = Path("/usr/bin/chromium")
KEY = "sl_test_" + "k" * 38
HERE: dict[str, Any] = {"headers": {"host": "localhost:8000"}, "REMOTE_ADDR": "127.0.0.1"}
in_a_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}; install Debian's chromium.")


@pytest.fixture
def served(settings: Settings, tmp_path: Path) -> None:
    """Makes a state folder as `serve` leaves it."""
    settings.STATE_DIR = tmp_path
    (tmp_path / "logins.json").write_text(
        json.dumps({"password": "p" * 16, "live": "sl_live_" + "k" * 38, "test": KEY})
    )


@pytest.mark.usefixtures("served")
class TestTheKeyOfServe:
    def test_a_browser_of_the_same_machine_gets_the_test_key_and_nothing_else(self, client: Client) -> None:
        shown = client.get("/", **HERE)
        assert KEY in shown.content.decode()
        assert "sl_live_k" not in shown.content.decode()
        assert "p" * 16 not in shown.content.decode()
        assert shown["Cache-Control"] == "no-store"

    @pytest.mark.parametrize(
        "asked",
        [
            {"headers": {"host": "testserver"}, "REMOTE_ADDR": "127.0.0.1"},
            {"headers": {"host": "localhost"}, "REMOTE_ADDR": "192.0.2.7"},
            {"headers": {"host": "localhost", "x-forwarded-for": "127.0.0.1"}, "REMOTE_ADDR": "127.0.0.1"},
            {"headers": {"host": "127.0.0.1", "forwarded": "for=192.0.2.7"}, "REMOTE_ADDR": "127.0.0.1"},
        ],
        ids=["another name", "another machine", "a proxy", "a tunnel"],
    )
    def test_nobody_else_gets_a_key(self, client: Client, asked: dict[str, Any]) -> None:
        shown = client.get("/", **asked)
        assert shown.status_code == 200
        assert "sl_test_k" not in shown.content.decode()

    def test_production_shows_no_key(self, client: Client, settings: Settings) -> None:
        settings.PRODUCTION = True
        shown = client.get("/", **HERE).content.decode()
        assert "sl_test_k" not in shown
        assert 'type="password" id="key"' in shown


def test_the_page_runs_and_loads_what_it_must_and_no_more(client: Client, settings: Settings) -> None:
    settings.SANDBOX_PICTURES = "http://pictures.example:8010/below"
    shown = client.get("/")
    policy = dict(part.split(" ", 1) for part in shown["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' data: blob: https: http://pictures.example:8010"
    page = shown.content.decode()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", page)


def test_a_sample_is_there_for_each_name(client: Client) -> None:
    for name in try_page.SAMPLES:
        with closing(client.get(f"/static/sightline/samples/{name}.jpg")) as sample:
            assert sample.status_code == 200


@in_a_browser
@pytest.mark.django_db(transaction=True)
def test_a_search_is_tried_with_a_pasted_key(alice: Tenant, live_server: LiveServer, tmp_path: Path) -> None:
    # Django makes no query beside Playwright's event loop. No worker runs here, so that the search stays in line.
    secret = keys.issue(alice, Mode.TEST)[1]
    files = {"picture.jpg": PICTURE, "notes.jpg": b"Not a picture."}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        failures = failures_of(page)
        page.goto(live_server.url)
        refuses_what_it_cannot_send(page)
        says_what_the_api_says(page, secret, tmp_path / "notes.jpg")
        assert failures.pop().endswith("400 (Bad Request)")
        shows_the_place_in_line_and_cancels(page, secret, tmp_path / "picture.jpg")
        assert failures == []
        browser.close()
    search = Search.objects.get(tenant=alice)
    assert (search.mode, search.status) == ("test", "canceled")


def failures_of(page: Page) -> list[str]:
    """Returns a list in which errors of the page's scripts and of its content policy appear."""
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    return failures


def refuses_what_it_cannot_send(page: Page) -> None:
    start, key = page.get_by_role("button", name="Search", exact=True), page.get_by_label("Test key")
    for given, sentence in (
        ("", "paste one; it begins with sl_test_"),
        ("sl_live_" + "k" * 38, "this is a live key, whose searches cost credits"),
        ("secret", "this is no key of Sightline's"),
        (KEY, "Picture: choose a file"),
    ):
        key.fill(given)
        start.click()
        expect(page.get_by_role("alert")).to_contain_text(sentence)
        expect(page.get_by_role("alert")).to_be_focused()
        expect(key).to_have_value("")


def says_what_the_api_says(page: Page, secret: str, file: Path) -> None:
    page.get_by_label("Test key").fill(secret)
    page.locator("#file").set_input_files(file)
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("image: The file is no picture.")
    leads = page.get_by_role("link", name="What this error means")
    expect(leads).to_have_attribute("href", "/docs/errors#invalid_request")


def shows_the_place_in_line_and_cancels(page: Page, secret: str, file: Path) -> None:
    page.locator("#file").set_input_files(file)
    page.get_by_role("checkbox", name="Products").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Search", exact=True).click()
    lines = page.locator("#lookups li")
    expect(lines).to_have_count(3)
    expect(lines.first).to_contain_text("Creatorsqueuedposition 1")
    expect(page.get_by_role("status").first).to_contain_text("The search is queued: 0 of 3 parts have ended")
    # The key is in the memory of the page's script, and nowhere that another visit or another page could read.
    assert secret not in page.content()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert "sl_" not in kept
    expect(page.locator("#curl")).to_contain_text(f"Bearer {secret[:14]}…")
    page.get_by_role("button", name="Cancel the search").click()
    expect(page.get_by_role("status").first).to_contain_text("The search has ended as canceled")
    expect(page.get_by_role("button", name="Search", exact=True)).to_be_enabled()
