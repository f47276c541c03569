"""Makes the pictures of the README from a running system with the demo's data.

A `serve` in a folder of its own, whose sandbox plays the providers for live keys too, gets searches of three tenants. Then
chromium photographs the operators' pages and the first page.
"""

from __future__ import annotations

import json
import time
from io import BytesIO
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from tests import programs
from tests.config.test_launcher import Served, free_port
from tests.screenshots.__main__ import CHROMIUM

FOLDER = programs.CHECKOUT / "docs" / "images"
SAMPLES = programs.CHECKOUT / "config" / "static" / "sightline" / "samples"
# A page of a README should be light: the whole is read over slow lines too.
MOST_BYTES = 200_000
COLOURS = 128
WINDOW: ViewportSize = {"width": 1280, "height": 800}
PATHS = {"MODASH_BASE_URL": "/modash/v1", "KEYAPI_BASE_URL": "/keyapi", "MEMORIES_BASE_URL": "/memories/serve/api"}
SOURCES = ("tiktok-creators", "tiktok-products", "public-videos", "private-videos")
TENANTS = {"Harbour Prints": 12, "Little Fox Ceramics": 8, "Nordwind": 4}
# Time in which some lookups have been called while others still wait.
SECONDS = 20.0


def make() -> str:
    """Returns what is wrong, as a sentence; nothing if all pictures are made."""
    with programs.state_folder() as folder:
        sandbox = free_port()
        played = {name: f"http://127.0.0.1:{sandbox}{path}" for name, path in PATHS.items()}
        served = Served(folder, SANDBOX_PORT=sandbox, **played)
        with served.program:
            try:
                return photographed(served, filled(served))
            finally:
                served.program.terminate()


def filled(served: Served) -> str:
    """Makes tenants whose searches wait for each other. Returns the id of a search that found something in all sources."""
    demo = json.loads((served.folder / "logins.json").read_text())["live"]
    shown: Any = search(served, demo, SOURCES, wait=60)
    for name, count in TENANTS.items():
        made = programs.run(served.folder, "create_tenant", name, "--json", **served.environment)[1]
        key = json.loads(made)["api_keys"]["live"]
        for provider in ("modash", "keyapi", "memories"):
            call(served, key, "/v1/credentials", json={"provider": provider, "secret": "sandbox-shared"})
        for number in range(count):
            search(served, key, SOURCES[: 1 + number % 4], max_age=0)
    time.sleep(SECONDS)
    return str(shown["id"])


def search(served: Served, key: str, sources: tuple[str, ...], *, wait: int = 0, **order: Any) -> Any:
    picture = (SAMPLES / "mug.jpg").read_bytes()
    limits = {"tiktok-creators": {"limit": 200}}
    request = {"lookups": [{"source": source, **limits.get(source, {})} for source in sources], **order}
    form = {"files": {"image": picture}, "data": {"request": json.dumps(request)}}
    return call(served, key, "/v1/searches", headers={"Prefer": f"wait={wait}"} if wait else {}, **form)


def call(served: Served, key: str, path: str, *, headers: dict[str, str] | None = None, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}", **(headers or {})}
    return httpx.post(served.web + path, headers=headers, timeout=90, **body).raise_for_status().json()


def photographed(served: Served, search_id: str) -> str:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=WINDOW, color_scheme="light")
        try_a_search(page, served)
        faults = [kept(page, "try")]
        sign_in(page, served)
        faults.append(kept(page, "first-page"))
        page.goto(f"{served.web}/admin/searches/lane/")
        page.locator("#result_list").get_by_role("link", name="modash", exact=True).first.click()
        faults.append(kept(page, "lane"))
        page.goto(f"{served.web}/admin/searches/search/{search_id}/change/")
        faults.append(kept(page, "search"))
        browser.close()
    return " ".join(filter(None, faults))


def try_a_search(page: Page, served: Served) -> None:
    page.goto(served.web)
    page.get_by_role("button", name="mug").click()
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("has ended", timeout=60_000)
    page.locator("#progress").evaluate("part => part.scrollIntoView()")


def sign_in(page: Page, served: Served) -> None:
    page.goto(f"{served.web}/admin/")
    page.get_by_label("Username").fill("operator")
    page.get_by_label("Password").fill(json.loads((served.folder / "logins.json").read_text())["password"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{served.web}/admin/")


def kept(page: Page, name: str) -> str:
    """Photographs a page in few colours. Returns what is wrong, as a sentence."""
    page.wait_for_load_state("networkidle")
    content = page.screenshot(animations="disabled")
    small = BytesIO()
    Image.open(BytesIO(content)).convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
    if len(small.getvalue()) > MOST_BYTES:
        return f"{name}.png would have {len(small.getvalue()):,} bytes, and may have {MOST_BYTES:,}: show less on it."
    (FOLDER / f"{name}.png").write_bytes(small.getvalue())
    return ""
