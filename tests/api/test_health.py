"""Up, ready, and the pages about the API."""

from __future__ import annotations

import re
from contextlib import closing

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from config import readiness


@pytest.fixture(autouse=True)
def unknown_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes each test check again."""
    monkeypatch.setattr(readiness, "_known", None)


def test_healthz_asks_nobody(client: Client, django_assert_num_queries: DjangoAssertNumQueries, db: None) -> None:
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("host", ["", "10.1.2.3:8000", "[fe80::1]", "elsewhere.example.com", "a_b/c d", "x" * 300])
def test_health_is_told_whatever_the_host(db: None, settings: Settings, path: str, host: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    settings.ALLOWED_HOSTS = ["sightline.example.com"]
    client = Client(headers={"host": host})
    assert client.get(path).status_code == 200
    assert client.head(path).status_code == 200
    assert client.get("/docs").status_code == 400


def test_readyz_is_ready(client: Client, db: None) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


def test_readyz_without_redis_is_a_503(client: Client, db: None, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = client.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert "Redis does not answer" in response.json()["detail"]
    assert response["Retry-After"] == "5"


def test_readyz_without_its_tables_is_a_503(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_migrated", False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'searches'")
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "migrate" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/errors"])
def test_the_pages_load_nothing_from_elsewhere(client: Client, db: None, path: str) -> None:
    page = client.get(path)
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in page["Content-Security-Policy"]
    loaded = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="([^"]+)"', page.content.decode())
    assert loaded
    for address in loaded:
        assert address.startswith("/static/")
        with closing(client.get(address)) as response:
            assert response.status_code == 200
