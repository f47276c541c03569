"""Pages weigh little and keep to their policies, as a browser counts them: bytes over the wire, requests, and violations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import unfold
from django.contrib import admin
from django.test import Client
from fontTools.ttLib import TTFont
from playwright.sync_api import Page, Request, sync_playwright
from pytest_django import Settings

from tests import fonts
from tests.admin.conftest import World
from tests.admin.served import collect, served
from tests.admin.test_browser import CHROMIUM
from tests.admin.test_pages import address, page_of

COLD_BYTES, WARM_BYTES, REQUESTS = 400_000, 60_000, 15
# unfold's page that ours is made from. Where it has changed, merge the change into config/templates/unfold/layouts/skeleton.html.
SKELETON = "66af9f0bb45f98ba4e16ba5e5a11f36d87b8e07430d19066d088b29548491c2e"
OTHERS = [
    "/admin/",
    "/admin/password_change/",
    "/admin/second_factor/set_up/",
    "/admin/log_out_everywhere/",
    "/docs",
    "/docs/errors",
]

needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}; install Debian's chromium.")


@dataclass
class Wire:
    """Counts what a page loads. `violations`: what its content policy refused, and errors of its scripts."""

    page: Page
    origin: str
    bytes: int = 0
    requests: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.devtools = self.page.context.new_cdp_session(self.page)
        self.devtools.send("Network.enable")
        self.devtools.on("Network.loadingFinished", self._loaded)
        self.page.on("request", self._asked)
        self.page.on(
            "console", lambda said: self._violated(said.text) if "Content Security Policy" in said.text else None
        )
        self.page.on("pageerror", lambda error: self._violated(str(error)))

    def _loaded(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["encodedDataLength"])

    def _asked(self, request: Request) -> None:
        if request.url.startswith(self.origin):
            self.requests.append(request.url)

    def _violated(self, text: str) -> None:
        self.violations.append(f"{self.page.url}: {text}")

    def open(self, path: str) -> tuple[int, int]:
        """Returns the bytes and the requests that a page costs until all of it is loaded."""
        self.bytes, self.requests = 0, []
        self.page.goto(self.origin + path, wait_until="load")
        return self.bytes, len(self.requests)


@pytest.fixture
def wire(world: World, desk: Client, settings: Settings, tmp_path: Path) -> Iterator[Wire]:
    collect(settings, tmp_path / "static")
    with served() as origin, sync_playwright() as playwright:
        # Results have their pictures nowhere.
        nowhere = "--host-resolver-rules=MAP pictures.example 127.0.0.1:9"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", nowhere])
        context = browser.new_context()
        context.add_cookies([{"name": "sessionid", "value": desk.cookies["sessionid"].value, "url": origin}])
        yield Wire(context.new_page(), origin)
        browser.close()


@needs_browser
@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_pages_weigh_little_and_do_nothing_that_their_policy_refuses(wire: Wire, world: World) -> None:
    lists = {model: address(model, "changelist") for model in admin.site._registry}
    rows = [page_of(row) for row in world.rows.values() if type(row) in admin.site._registry]
    first, *rest = lists.values()
    cold_bytes, cold_requests = wire.open(first)
    assert (cold_bytes <= COLD_BYTES, cold_requests <= REQUESTS) == (True, True), (cold_bytes, wire.requests)
    warm = {path: wire.open(path) for path in (*rest, first)}
    assert {path: weight for path, (weight, _) in warm.items() if weight > WARM_BYTES} == {}
    for path in (*rows, *OTHERS):
        wire.open(path)
    assert wire.violations == []


def test_unfolds_page_is_the_one_that_ours_was_made_from() -> None:
    theirs = Path(unfold.__file__).parent / "templates/unfold/layouts/skeleton.html"
    assert hashlib.sha256(theirs.read_bytes()).hexdigest() == SKELETON


def test_every_icon_that_a_source_names_is_in_the_font() -> None:
    whole = fonts.ligatures(TTFont(fonts.WHOLE / "material-symbols/Material-Symbols-Outlined.woff2"))
    ours = fonts.ligatures(TTFont(fonts.CUT / fonts.ICONS))
    lacking = (fonts.named_icons() & whole.keys()) - ours.keys()
    assert not lacking, "Run `make fonts`, and commit what it changes."


def test_the_fonts_have_latin_letters() -> None:
    for name in fonts.TEXT:
        assert set(map(ord, "ÄÖÜäöüßéñçžłŁ…–“”’€→·×")) <= TTFont(fonts.CUT / name).getBestCmap().keys()
