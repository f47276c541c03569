"""Attacks the log-in with guessed passwords, as fast as the server answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.attack.conftest import Bystander

pytestmark = pytest.mark.chaos
CSRF = "c" * 32


def guess(url: str, name: str) -> int:
    form = {"username": name, "password": "wrong", "csrfmiddlewaretoken": CSRF}
    return httpx.post(f"{url}/admin/login/", data=form, cookies={"csrftoken": CSRF}, timeout=30).status_code


def test_forty_wrong_passwords_are_throttled_and_slow_nobody(bystander: Bystander) -> None:
    with bystander.watching(), ThreadPoolExecutor(40) as guessers:
        statuses = list(guessers.map(lambda number: guess(bystander.url, f"name-{number}"), range(40)))
        assert statuses.count(200) <= 20
        assert set(statuses) <= {200, 429, 503}
        assert [guess(bystander.url, "olive") for _ in range(25)][-1] == 429
