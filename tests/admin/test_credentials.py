"""The pages of credentials, on which operators never see a tenant's key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import Act
from providers import policies
from providers.keyring import credentials, sealing
from providers.models import Credential, Policy
from tests.admin.conftest import PROVIDER, SECRET, World
from tests.admin.test_pages import address, page_of
from tests.providers.conftest import Provider, provider

__all__ = ["provider"]

GOOD = {"error": False, "user": {}, "billing": {"credits": 812.35, "rawRequests": 120}}


@pytest.fixture
def modash(db: None, provider: Provider, settings: Settings) -> Provider:
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    redis.Redis.from_url(django_settings.REDIS_URL).flushdb()
    settings.MODASH_BASE_URL = provider.url
    provider.answers(GOOD)
    return provider


@pytest.fixture
def verify(desk: Client, world: World) -> Callable[[], str]:
    """Presses the button; what the page says then."""

    def verify() -> str:
        path = reverse("admin:providers_credential_verify", args=[world.credential.pk])
        assert desk.get(path).status_code == 200
        assert desk.post(path, {"_form_submitted": "on"}).headers["HX-Redirect"] == page_of(world.credential)
        return desk.get(page_of(world.credential)).content.decode()

    return verify


def test_verify_asks_the_provider_and_shows_its_account(modash: Provider, verify: Callable[[], str]) -> None:
    page = verify()
    assert Credential.objects.get().state == "verified"
    for shown in ("worked when it was last used", "812.35", "rawRequests"):
        assert shown in page
    assert SECRET not in page


def test_verify_is_on_record(modash: Provider, verify: Callable[[], str], world: World) -> None:
    verify()
    act = Act.objects.get(object_id=str(world.credential.pk))
    assert (act.name, act.kind) == ("olive", "verify")
    assert act.detail.startswith("Verified: ")


def test_verify_says_what_went_wrong(modash: Provider, verify: Callable[[], str]) -> None:
    modash.answers({"error": True, "code": "api_token_invalid", "message": f"{SECRET}-Alice"}, status=401)
    page = verify()
    assert "does not accept this key" in page
    assert SECRET not in page
    modash.answers(b"", status=500)
    Credential.objects.update(checked_at=None)
    assert "could not answer for the moment" in verify()
    assert Credential.objects.get().state == "invalid"


def test_one_that_cannot_be_opened_says_so_in_the_list_and_on_its_page(
    desk: Client, world: World, modash: Provider, verify: Callable[[], str]
) -> None:
    assert "needs re-entry" not in desk.get(address(Credential, "changelist")).content.decode()
    Credential.objects.update(sealed=b"no longer what it was")
    assert "needs re-entry" in desk.get(address(Credential, "changelist")).content.decode()
    assert sealing.NEEDS_REENTRY in verify()
    assert not modash.headers
    desk.post(page_of(world.credential), {"secret": "another-key"})
    assert "needs re-entry" not in desk.get(address(Credential, "changelist")).content.decode()


def test_a_deleted_default_leaves_it_to_the_oldest_other(desk: Client, world: World) -> None:
    older, newer = (credentials.store(world.tenant, PROVIDER, label, label=label) for label in ("z", "a"))
    desk.post(address(Credential, "delete", world.credential.pk), {"post": "yes"})
    assert Credential.objects.get(is_default=True) == older
    chosen = {"action": "delete_selected", "_selected_action": [str(older.pk)], "post": "yes"}
    desk.post(address(Credential, "changelist"), chosen)
    assert Credential.objects.get() == newer
    assert Credential.objects.get().is_default


def test_an_equal_label_is_refused_by_the_form(desk: Client, world: World) -> None:
    form = {"tenant": str(world.tenant.pk), "provider": PROVIDER, "label": "default", "secret": "another-key"}
    response = desk.post(address(Credential, "add"), form)
    assert response.status_code == 200
    assert "another-key" not in response.content.decode()
    assert sealing.secret_of(Credential.objects.get()).value.startswith(SECRET)


@pytest.mark.parametrize(
    ("field", "value"),
    [("label", "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001"), ("label", ""), ("secret", "x" * 4097), ("secret", "two words")],
)
def test_what_the_api_would_refuse_is_refused_in_a_sentence(desk: Client, world: World, field: str, value: str) -> None:
    form = {"tenant": str(world.tenant.pk), "provider": PROVIDER, "label": "spare", "secret": "another-key"}
    response = desk.post(address(Credential, "add"), form | {field: value})
    (error,) = response.context["adminform"].form.errors[field]
    assert error.endswith(".")
    assert Credential.objects.count() == 1


def test_the_longest_key_is_taken(desk: Client, world: World) -> None:
    form = {"tenant": str(world.tenant.pk), "provider": PROVIDER, "label": "spare", "secret": "x" * 4096}
    assert desk.post(address(Credential, "add"), form).status_code == 302
