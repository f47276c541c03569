"""Secrets go in and never come out: of forms that are refused, of pages, of the browser's cookies, of typed addresses."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts import keys
from accounts.models import ApiKey, Delivery, Endpoint, Tenant
from accounts.webhooks import endpoints
from providers.keyring import credentials, sealing, states
from providers.models import Credential
from tests.admin.conftest import PROVIDER, SECRET, World
from tests.admin.test_pages import address, page_of

NEW_KEY = reverse("admin:accounts_apikey_add")
NEW_CREDENTIAL = reverse("admin:providers_credential_add")
ISSUED = re.compile(r"sl_(?:live|test)_\w{38}")


def test_no_page_holds_a_secret(desk: Client, world: World) -> None:
    ring = Credential.objects.get(pk=world.credential.pk)
    endpoints.rotate(world.endpoint)
    endpoint = Endpoint.objects.get(pk=world.endpoint.pk)
    secrets = [SECRET, world.key_secret, world.key.digest, ring.fingerprint, world.endpoint_secret]
    for hidden in (bytes(ring.sealed), bytes(endpoint.sealed), bytes(endpoint.previous_sealed or b"")):
        secrets += [hidden.hex(), repr(hidden)[2:-1], b64encode(hidden).decode()]
    seen = 0
    for model in admin.site._registry:
        for path in (address(model, "changelist"), page_of(world.rows[model]), address(model, "add")):
            html = desk.get(path).content.decode()
            assert [secret for secret in secrets if secret in html] == [], path
            seen += len(html)
    assert seen > 100_000


def test_an_issued_key_is_shown_once_and_works(desk: Client, alice: Tenant) -> None:
    form = {"tenant": str(alice.pk), "label": "shop", "mode": "test"}
    response = desk.post(NEW_KEY, form)
    (secret,) = set(ISSUED.findall(response.content.decode()))
    key = ApiKey.objects.get()
    assert keys.find(secret) == key
    assert (key.tenant, key.label, key.mode) == (alice, "shop", "test")
    assert "no-store" in response.headers["Cache-Control"]
    assert secret not in str(desk.cookies) + desk.get(page_of(key)).content.decode()


def test_a_revoked_key_opens_nothing(desk: Client, world: World) -> None:
    revoke = reverse("admin:accounts_apikey_revoke", args=[world.key.pk])
    assert desk.get(revoke).status_code == 200
    assert keys.find(world.key_secret) == world.key
    assert desk.post(revoke, {"_form_submitted": "on", "reason": "why"}).headers["HX-Redirect"] == page_of(world.key)
    assert keys.find(world.key_secret) is None
    assert desk.post(revoke, {"_form_submitted": "on", "reason": "why"}).status_code == 403


def test_a_stored_credential_opens_to_what_was_typed(desk: Client, alice: Tenant) -> None:
    form = {"tenant": str(alice.pk), "provider": PROVIDER, "label": "default", "secret": f" {SECRET} "}
    response = desk.post(NEW_CREDENTIAL, form, follow=True)
    credential = Credential.objects.get()
    assert sealing.secret_of(credential).value == SECRET
    assert credential.is_default
    assert SECRET not in response.content.decode() + str(desk.cookies)


@pytest.mark.parametrize("wrong", [{"tenant": ""}, {"provider": "nobody"}, {"secret": f"{SECRET} with spaces"}])
def test_a_refused_form_does_not_repeat_the_secret(desk: Client, alice: Tenant, wrong: dict[str, str]) -> None:
    form = {"tenant": str(alice.pk), "provider": PROVIDER, "label": "default", "secret": SECRET} | wrong
    response = desk.post(NEW_CREDENTIAL, form)
    assert response.context["adminform"].form.errors.keys() == wrong.keys()
    assert SECRET not in response.content.decode()
    assert not Credential.objects.exists()


def test_an_empty_secret_keeps_the_stored_one(desk: Client, world: World) -> None:
    assert desk.post(page_of(world.credential), {"secret": ""}).status_code == 302
    kept = Credential.objects.get(pk=world.credential.pk)
    assert bytes(kept.sealed) == bytes(world.credential.sealed)


def test_a_new_secret_replaces_the_stored_one(desk: Client, world: World) -> None:
    states.mark(world.credential, Credential.State.INVALID)
    assert desk.post(page_of(world.credential), {"secret": "another-key"}).status_code == 302
    replaced = Credential.objects.get()
    assert (replaced.pk, replaced.state) == (world.credential.pk, "unknown")
    assert sealing.secret_of(replaced).value == "another-key"


def test_another_credential_becomes_the_default(desk: Client, world: World) -> None:
    spare = credentials.store(world.tenant, PROVIDER, "spare-key", label="spare")
    desk.post(
        reverse("admin:providers_credential_make_default", args=[spare.pk]), {"_form_submitted": "on", "reason": "why"}
    )
    assert Credential.objects.get(is_default=True) == spare


@pytest.mark.parametrize(
    "path",
    [
        address(ApiKey, "changelist") + "?digest__startswith=a",
        address(Credential, "changelist") + "?fingerprint__startswith=a",
        address(Credential, "changelist") + "?sealed__gt=a",
        address(Endpoint, "changelist") + "?sealed__gt=a",
        address(Endpoint, "changelist") + "?previous_sealed__gt=a",
        address(Delivery, "changelist") + "?endpoint__sealed__gt=a",
        reverse("admin:accounts_user_changelist") + "?password__startswith=p",
        reverse("admin:searches_lookup_changelist") + "?credential__fingerprint__startswith=a",
        reverse("admin:searches_search_changelist") + "?api_key__digest__startswith=a",
    ],
)
def test_a_typed_address_cannot_spell_out_a_secret(desk: Client, world: World, path: str) -> None:
    assert desk.get(path).status_code == 400
