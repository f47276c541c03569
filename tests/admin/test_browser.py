"""The admin in a browser: what only shows there, such as a picture that is really drawn and a script that fails."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Picture
from playwright.sync_api import Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from accounts.bulk_acts import runs
from accounts.models import BulkAct, User
from billing import ledger
from searches.models import Lookup, Result, Status
from tests.admin.conftest import World, found
from tests.admin.test_bulk_acts import waiting_lookups
from tests.admin.test_pages import page_of
from tests.admin.test_search_page import REFUSED, another, ended, filled
from tests.api.background import background

CHROMIUM = Path("/usr/bin/chromium")
# The height of a small laptop's screen.
FIRST_SCREEN = 768
PASSWORD = "correct horse battery staple"
MANY = 500
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


@pytest.fixture
def failed(rows: World) -> World:
    """Fails the lookup of creators after its first page, beside products without pictures that a browser can open."""
    for result in Result.objects.all():
        Result.objects.filter(pk=result.pk).update(image_url=f"https://pictures.example/{result.rank}.jpeg")
    filled(another(rows.lookup, ordinal=1, source="tiktok-products"), 2)
    Lookup.objects.filter(pk=rows.lookup.pk).update(result_count=8)
    ended(rows.lookup, Status.FAILED, REFUSED)
    return rows


def test_a_failed_search_is_understood_at_first_sight(failed: World, page: Page, live_server: LiveServer) -> None:
    failures: list[str] = []
    outside: set[str] = set()
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(live_server.url) else outside.add(request.url))
    drawn = BytesIO()
    Picture.new("RGB", (30, 40), "teal").save(drawn, "JPEG")
    page.route(
        "https://pictures.example/*", lambda route: route.fulfill(body=drawn.getvalue(), content_type="image/jpeg")
    )
    page.route("https://pictures.example/8.jpeg", lambda route: route.abort())

    page.locator("#nav-sidebar-apps").get_by_role("link").filter(has_text="Searches").click()
    thumbnail = page.locator("#result_list img").first
    expect(thumbnail).to_be_visible()
    page.wait_for_function("document.querySelector('#result_list img').naturalWidth === 96")
    page.locator("#result_list tbody a").first.click()
    # Expectations wait five seconds, in which a busy machine may not load a page.
    page.wait_for_url(live_server.url + page_of(failed.search))
    reason = page.get_by_text(REFUSED.detail).first
    expect(reason).to_be_visible()
    box = reason.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < FIRST_SCREEN
    picture = page.get_by_role("img", name="The picture")
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 480

    tiles = page.get_by_role("article")
    expect(tiles).to_have_count(8)
    tiles.last.scroll_into_view_if_needed()
    expect(tiles.last.get_by_text("The picture cannot be loaded.")).to_be_visible()
    page.wait_for_function(
        "[...document.querySelectorAll('article img')].filter(each => each.naturalWidth === 30).length === 7"
    )
    expect(page.get_by_role("link", name=failed.result.title, exact=True)).to_have_attribute(
        "href", str(failed.result.url)
    )
    assert outside == {f"https://pictures.example/{rank}.jpeg" for rank in range(1, 9)}

    tabs = page.get_by_role("navigation", name="Sources").get_by_role("link")
    tabs.first.focus()
    page.keyboard.press("Tab")
    expect(tabs.last).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/?lookup=1#results")
    expect(tabs.last).to_have_attribute("aria-current", "page")
    expect(page.get_by_text("which no browser opens").first).to_be_visible()
    assert failures == []


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
    expect(page.get_by_text("111.5 credits", exact=True)).to_be_visible()


def test_an_operator_pauses_a_lane_on_its_page_and_sees_it_paused(
    page: Page, live_server: LiveServer, rows: World
) -> None:
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(live_server.url + page_of(rows.lookup.lane))
    expect(page.locator("#line").get_by_role("link", name=rows.tenant.name)).to_be_visible()
    page.locator("#what-if").get_by_label("Calls").fill("10")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#what-if-answer").get_by_text("a new tenant's first lookup waits")).to_be_visible()
    page.get_by_role("link", name="Pause").click()
    page.get_by_label("Reason").fill("The provider asked us to.")
    with page.expect_event("load"):
        page.get_by_role("button", name="Pause the lane").click()
    expect(page.get_by_text("Operators have paused this lane.")).to_be_visible()
    expect(page.locator("#line").get_by_text("when it is resumed")).to_be_visible()
    expect(page.get_by_role("link", name="Resume")).to_be_visible()
    assert failures == []


@pytest.fixture
def crowd(rows: World) -> World:
    """Makes a charge of which nobody knows, and 500 waiting lookups of one tenant."""
    ledger.set_unknown(rows.lookup.reference, Decimal("0.75"))
    waiting_lookups(rows, MANY - 1, of_a_search=50)
    return rows


@pytest.mark.long
def test_an_unknown_charge_is_settled_and_500_lookups_are_canceled(
    crowd: World, page: Page, live_server: LiveServer
) -> None:
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)
    settle(page, live_server, crowd)
    page.goto(f"{live_server.url}/admin/searches/lookup/?status__exact=queued&tenant__id__exact={crowd.tenant.pk}")
    page.get_by_role("link", name="Cancel all that match").click()
    expect(page.locator("#matched")).to_have_text(f"{MANY}")
    expect(page.get_by_text("It frees what is held for them:")).to_be_visible()
    page.get_by_label("Reason").fill("Their shop is closed.")
    page.get_by_role("button", name="Cancel the lookups").click()
    page.wait_for_url("**/bulkact/*/change/")
    with background() as start:
        start(do_bulk_acts)
        # The page reads the progress by itself, and loads anew at the end.
        expect(page.locator("[data-outcome]")).to_contain_text(f"{MANY} done", timeout=600_000)
    expect(page.locator("#content-main").get_by_text("Their shop is closed.")).to_be_visible()
    expect(page.locator("#content-main").get_by_text("ended", exact=True)).to_be_visible()
    assert refused == []


def settle(page: Page, live_server: LiveServer, rows: World) -> None:
    page.goto(f"{live_server.url}/admin/billing/hold/?outcome=unknown")
    page.locator("#result_list tbody a").first.click()
    page.get_by_text("Settle the unknown").click()
    page.get_by_label("Charged").fill("0.5")
    page.get_by_label("Memo").fill("their invoice")
    with page.expect_event("load"):
        page.get_by_role("button", name="Settle").click()
    expect(page.get_by_text("Settled: 0.5 of 0.75 credits were billed.")).to_be_visible()


def do_bulk_acts() -> None:
    """Does what a worker would, which no test has."""
    for pk in BulkAct.objects.filter(state="running").values_list("pk", flat=True):
        while runs.run(pk):
            pass
