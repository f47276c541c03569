"""The admin in a browser: what only shows there, such as a picture that is really drawn and a script that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from accounts.models import User
from tests.admin.conftest import World, found
from tests.admin.test_pages import page_of

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "correct horse battery staple"
# Submits the dialog as soon as it is in the page, which no operator and no machine can be faster than.
AT_ONCE = """
new MutationObserver((changes, observer) => {
    const form = document.querySelector("#modal-content form");
    if (form) {
        observer.disconnect();
        form.elements.amount.value = "12.5";
        form.elements.memo.value = "second order";
        form.requestSubmit();
    }
}).observe(document, {childList: true, subtree: true});
"""

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}; install Debian's chromium."),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def rows(operator: User, world: World) -> World:
    """Makes all rows of a test beforehand: Django makes no query beside Playwright's event loop."""
    operator.set_password(PASSWORD)
    operator.save()
    for number in range(2, 9):
        found(world.lookup, number, image_url=None)
    return world


@pytest.fixture
def page(rows: World, live_server: LiveServer) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1200})
        page.goto(f"{live_server.url}/admin/")
        page.get_by_label("Username").fill("olive")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{live_server.url}/admin/")
        yield page
        browser.close()


def test_a_search_is_seen_with_its_picture_and_results(page: Page, live_server: LiveServer, rows: World) -> None:
    failures: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))

    page.locator("#nav-sidebar-apps").get_by_role("link").filter(has_text="Searches").click()
    page.locator("#result_list tbody a").first.click()
    # Expectations wait five seconds, in which a busy machine may not load a page.
    page.wait_for_url(live_server.url + page_of(rows.search))
    picture = page.get_by_role("img", name="The picture")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 480
    expect(page.get_by_role("article")).to_have_count(8)
    expect(page.get_by_role("link", name=rows.result.title)).to_have_attribute("href", str(rows.result.url))

    assert failures == []
    assert {url for url in requests if not url.startswith(live_server.url)} <= {rows.result.image_url}


def test_credits_are_granted_in_a_dialog(page: Page, live_server: LiveServer, rows: World) -> None:
    page.goto(live_server.url + page_of(rows.account))
    page.get_by_text("Grant credits").click()
    page.get_by_label("Amount").fill("12.5")
    page.get_by_label("Memo").fill("second order")
    with page.expect_event("load"):
        page.get_by_role("button", name="Grant").click()
    see_the_grant(page)


def test_a_dialog_that_is_submitted_at_once_counts(page: Page, live_server: LiveServer, rows: World) -> None:
    page.goto(live_server.url + page_of(rows.account))
    page.evaluate(AT_ONCE)
    with page.expect_event("load"):
        page.get_by_text("Grant credits").click()
    see_the_grant(page)


def test_a_dialog_in_a_tab_of_its_own_leads_back_to_the_row(page: Page, live_server: LiveServer, rows: World) -> None:
    page.goto(live_server.url + page_of(rows.account))
    page.goto(live_server.url + str(page.get_by_role("link", name="Grant credits").get_attribute("href")))
    page.get_by_label("Amount").fill("12.5")
    page.get_by_label("Memo").fill("second order")
    page.get_by_role("button", name="Grant").click()
    page.wait_for_url(live_server.url + page_of(rows.account))
    see_the_grant(page)


def see_the_grant(page: Page) -> None:
    expect(page.get_by_text("Granted 12.5 credits.")).to_be_visible()
    expect(page.get_by_text("111.5", exact=True)).to_be_visible()
