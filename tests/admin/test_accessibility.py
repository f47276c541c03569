"""Every page meets WCAG 2.1 A and AA as axe-core checks it, in light and dark, and no page is wider than a phone.

One browser, one page of it, and one row of everything. What frames each page of the admin is checked once, on the first page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.conf import settings
from django.contrib import admin
from django.test import Client, RequestFactory
from playwright.sync_api import Page, ViewportSize, sync_playwright
from pytest_django.live_server_helper import LiveServer

from accounts.models import User
from tests.admin.conftest import World
from tests.admin.test_pages import address, page_of

CHROMIUM = Path("/usr/bin/chromium")
PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1440, "height": 1000}
# Each with a part that shows when the page is whole.
WHOLE = {"/": "#start", "/docs": "#operations-searches-create_search", "/docs/errors": "h1", "/nowhere": "h1"}
# Parts that are all alike, of which one is checked.
ALIKE = [["main > section ~ section"], ["span ~ span > .opblock-tag-section"], [".opblock ~ .opblock"]]
# The admin's own contents on a page.
CONTENTS = "#main"
DIALOG = "#modal-content"
OPENS_A_DIALOG = f'[hx-target="{DIALOG}"]'
EVERYTHING = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# What differs in dark.
COLOURS = ["color-contrast"]
CHECK = """async ([part, alike, rules]) => {
    // What is left out of a check is walked through all the same.
    if (part === "#main") document.querySelector("#nav-sidebar")?.remove();
    const options = {runOnly: rules, resultTypes: ["violations"], preload: false};
    const {violations} = await axe.run({include: [[part]], exclude: alike}, options);
    return violations.flatMap(({id, nodes}) =>
        nodes.map((node) => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary.split("\\n")[1] ?? ""}`));
}"""
SWITCH = """dark => {
    document.documentElement.classList.toggle("dark", dark);
    for (const fading of document.getAnimations()) fading.finish();
}"""
# Words in another case than they were written in.
RECASED = """part => [...document.querySelectorAll(`${part}, ${part} *`)]
    .filter((each) => getComputedStyle(each).textTransform !== "none" && each.innerText?.trim())
    .map((each) => `recased: ${each.innerText.slice(0, 80)}`)"""
WIDER = "document.documentElement.scrollWidth - innerWidth"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}; install Debian's chromium."),
    pytest.mark.django_db(transaction=True),
]


def pages(world: World, operator: User) -> Iterator[str]:
    """Yields the pages of each model: its list, the page of a row, and the form of a new one; and an empty list."""
    request = RequestFactory().get("/admin/")
    request.user = operator
    yield "/admin/password_change/"
    yield f"{address(type(world.tenant), 'changelist')}?q=nothing"
    for model, row in world.rows.items():
        yield address(model, "changelist")
        yield page_of(row)
        if admin.site._registry[model].has_add_permission(request):
            yield address(model, "add")


def test_every_page_is_usable_by_everybody(desk: Client, operator: User, world: World, live_server: LiveServer) -> None:
    # Django makes no query beside Playwright's event loop.
    inside = list(pages(world, operator))
    value = desk.cookies[settings.SESSION_COOKIE_NAME].value
    session: Any = {"name": settings.SESSION_COOKIE_NAME, "value": value, "url": live_server.url}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport=DESK, base_url=live_server.url, reduced_motion="reduce")
        walk = Walk(context.new_page())
        for path, shows in WHOLE.items():
            walk.see(path, "html", shows)
        walk.see("/admin/login/", "html")
        context.add_cookies([session])
        walk.see("/admin/", "html")
        for path in inside:
            walk.see(path, CONTENTS)
            walk.open_dialogs(path)
        browser.close()
    assert walk.faults == {}, walk.report()


class Walk:
    """Looks at pages, and keeps what is wrong with each."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: dict[str, list[str]] = {}

    def see(self, path: str, part: str, shows: str = "body") -> None:
        self.page.set_viewport_size(DESK)
        self.page.goto(path)
        self.page.wait_for_selector(shows)
        self.page.evaluate(AXE_SCRIPT)
        self.check(path, part)
        if part == CONTENTS:
            self.note(path, self.page.evaluate(RECASED, part))
        self.page.set_viewport_size(PHONE)
        wider = self.page.evaluate(WIDER)
        self.note(path, [f"{wider} px wider than a phone"] if wider > 0 else [])
        self.page.set_viewport_size(DESK)

    def open_dialogs(self, path: str) -> None:
        for opener in self.page.locator(OPENS_A_DIALOG).all():
            opener.click()
            self.page.locator(f"{DIALOG} form").wait_for()
            self.check(f"{path}: {opener.inner_text()}", DIALOG)
            self.page.keyboard.press("Escape")
            self.page.locator(DIALOG).wait_for(state="hidden")

    def check(self, path: str, part: str) -> None:
        self.in_dark(False)
        self.note(path, self.page.evaluate(CHECK, [part, ALIKE, EVERYTHING]))
        self.in_dark(True)
        self.note(path, self.page.evaluate(CHECK, [part, ALIKE, COLOURS]))
        self.in_dark(False)

    def in_dark(self, dark: bool) -> None:
        """Changes what the public pages look at, and what the admin's theme does. Colours do not fade over, as they would."""
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.evaluate(SWITCH, dark)

    def note(self, path: str, found: list[str]) -> None:
        if found:
            self.faults.setdefault(path, []).extend(found)

    def report(self) -> str:
        return "\n".join(f"{path}\n    " + "\n    ".join(found) for path, found in self.faults.items())
