"""The admin's first page in a browser: it refreshes itself, keeps the keyboard's place, and says when it is signed out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Endpoint
from config.dashboard import page as first_page
from providers.models import Credential
from tests import racing
from tests.admin.conftest import World
from tests.admin.test_browser import page, pytestmark, rows

__all__ = ["page", "pytestmark", "rows"]


def test_the_first_page_refreshes_itself_without_a_reload(
    page: Page, live_server: LiveServer, rows: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_page, "REFRESH_SECONDS", 0.2)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{live_server.url}/admin/")
    page.evaluate("window.isTheSame = true")
    trouble = page.get_by_role("link", name="credential is rejected by its provider")
    expect(trouble).to_have_count(0)
    in_a_thread(lambda: Credential.objects.update(state="invalid"))
    expect(trouble).to_be_visible()
    trouble.focus()
    in_a_thread(lambda: Endpoint.objects.update(failing_since=rows.endpoint.created_at))
    expect(page.get_by_role("link", name="webhook endpoint fails every delivery")).to_be_visible()
    expect(trouble).to_be_focused()
    assert page.evaluate("window.isTheSame")
    page.context.clear_cookies()
    expect(page.get_by_role("status")).to_contain_text("You are signed out")
    assert failures == []


def in_a_thread(change: Callable[[], object]) -> None:
    """Changes rows while the browser is open, beside whose event loop Django makes no query."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(racing.run, change).result()
