"""Tests that the debug page shows where the program failed, and no secret."""

from __future__ import annotations

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

SECRET = "not-for-strangers"
ADDRESS = f"redis://:{SECRET}@redis.example.com/0"


def fail(request: HttpRequest) -> HttpResponse:
    key = "-".join(["a", "provider", "key"])
    raise RuntimeError(f"{len(key)} bytes from {ADDRESS}, signed with {request.META['signed']}")


urlpatterns = [path("fail", fail)]
pytestmark = pytest.mark.django_db


@pytest.fixture
def debugging(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings.DEBUG = True
    settings.ROOT_URLCONF = __name__
    settings.REDIS_URL = settings.CELERY_BROKER_URL = ADDRESS
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", "of-the-database")
    settings.SECRET_KEY = "key<of>signatures"
    settings.CREDENTIAL_KEYS = "id:key-of-vault,other:second-key"
    return settings


@pytest.mark.parametrize("accepted", ["text/html", "text/plain"])
def test_the_error_page_shows_no_secret(debugging: Settings, accepted: str) -> None:
    client = Client(raise_request_exception=False, headers={"accept": accepted, "authorization": "Bearer sl_live_1"})
    client.cookies["sessionid"] = client.cookies["csrftoken"] = "of-a-cookie"
    page = client.post("/fail", {"password": "of-a-form"}, signed=debugging.SECRET_KEY, PGPASSWORD="of-the-shell")
    shown = page.content.decode()
    assert page.status_code == 500
    assert "RuntimeError" in shown
    assert "redis.example.com" in shown
    secrets = [SECRET, "a-provider-key", "of-the-database", "key&lt;of", "key-of-vault", "second-key"]
    sent = ["sl_live_1", "of-a-cookie", "of-a-form", "of-the-shell"]
    assert [secret for secret in [*secrets, *sent, debugging.SECRET_KEY] if secret in shown] == []


def test_the_page_of_a_host_that_is_not_ours_shows_none_either(debugging: Settings, client: Client) -> None:
    page = client.get("/fail", headers={"host": "elsewhere.example.com"})
    assert page.status_code == 400
    assert SECRET not in page.content.decode()
