"""The rights of API keys as operators set them."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import acts, keys
from accounts.admin.api_keys import ApiKeyForm
from accounts.models import ApiKey, Mode, Scope, Tenant
from tests.admin.test_pages import address, page_of

LATER = {"expires_at_0": "2030-01-31", "expires_at_1": "12:00:00"}


def form_of(key: ApiKey, **changes: Any) -> dict[str, Any]:
    return {"label": key.label, "scopes": key.scopes, "allowed_networks": "\n".join(key.allowed_networks), **changes}


def test_an_empty_form_has_all_scopes_checked(desk: Client, db: None) -> None:
    form = desk.get(address(ApiKey, "add")).context["adminform"].form
    assert form["scopes"].value() == list(Scope.values)


def test_a_key_is_issued_with_its_rights(desk: Client, alice: Tenant) -> None:
    rights = {"scopes": ["searches:read"], "allowed_networks": "203.0.113.7\r\n\r\n 10.0.0.0/8 ", **LATER}
    desk.post(address(ApiKey, "add"), {"tenant": str(alice.pk), "mode": "live", "label": "shop", **rights})
    key = ApiKey.objects.get()
    assert (key.scopes, key.allowed_networks) == (["searches:read"], ["203.0.113.7/32", "10.0.0.0/8"])
    assert key.expires_at is not None
    assert key.expires_at.isoformat() == "2030-01-31T12:00:00+00:00"


def test_the_rights_of_a_key_are_changed_and_the_history_says_so(desk: Client, alice: Tenant) -> None:
    key, secret = keys.issue(alice, Mode.LIVE, "shop", scopes=["searches:read", "billing:read"])
    desk.post(page_of(key), form_of(key, scopes=["searches:read"], allowed_networks="10.0.0.0/8", **LATER))
    key.refresh_from_db()
    assert (key.scopes, key.allowed_networks, key.mode) == (["searches:read"], ["10.0.0.0/8"], "live")
    assert keys.find(secret) == key
    said = html.unescape(desk.get(page_of(key).replace("/change/", "/history/")).content.decode())
    assert "from searches:read, billing:read to searches:read" in said
    assert "from nothing to 10.0.0.0/8" in said
    assert "from nothing to 2030-01-31" in said


def test_a_form_undoes_no_revocation_and_no_rotation_that_comes_meanwhile(
    desk: Client, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = keys.issue(alice, Mode.LIVE, "shop")
    clean, secrets = ApiKeyForm.clean, []

    def end_meanwhile(form: ApiKeyForm) -> dict[str, Any]:
        same = ApiKey.objects.get(pk=key.pk)
        secrets.append(keys.rotate(same, timedelta()))
        keys.revoke(same)
        return clean(form)

    monkeypatch.setattr(ApiKeyForm, "clean", end_meanwhile)
    desk.post(page_of(key), form_of(key, label="renamed"))
    found = keys.identify(secrets[0])
    assert found is not None
    assert (found.label, found.state, found.former_until) == ("renamed", "revoked", None)


def test_a_form_that_changes_nothing_is_not_on_record(desk: Client, alice: Tenant) -> None:
    key, _ = keys.issue(alice, Mode.LIVE, "shop", allowed_networks=["10.0.0.0/8"])
    assert desk.post(page_of(key), form_of(key)).status_code == 302
    assert not acts.on(key).exists()


@pytest.mark.parametrize(
    ("wrong", "field"), [({"allowed_networks": "10.0.0.1/8"}, "allowed_networks"), ({"scopes": ["all"]}, "scopes")]
)
def test_wrong_rights_are_refused(desk: Client, alice: Tenant, wrong: dict[str, Any], field: str) -> None:
    key, _ = keys.issue(alice, Mode.LIVE)
    response = desk.post(page_of(key), form_of(key, **wrong))
    assert response.context["adminform"].form.errors.keys() == {field}


def test_an_expired_key_is_made_valid_where_there_is_room(desk: Client, alice: Tenant) -> None:
    key, _ = keys.issue(alice, Mode.LIVE, expires_at=timezone.now() - timedelta(days=1))
    Tenant.objects.update(most_api_keys=0)
    response = desk.post(page_of(key), form_of(key, **LATER))
    assert "0 API keys are valid" in str(response.context["adminform"].form.errors)
    Tenant.objects.update(most_api_keys=1)
    desk.post(page_of(key), form_of(key, **LATER))
    key.refresh_from_db()
    assert key.state == "valid"
