"""Tests how a sealing key is retired while keys are stored and used: every secret moves, and none is lost or delays others."""

from __future__ import annotations

import base64
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from accounts import vault
from accounts.models import Mode, Tenant
from accounts.webhooks import endpoints
from providers.keyring import credentials, sealing
from providers.models import Credential
from tests.racing import at_once

pytestmark = pytest.mark.django_db
OLD, NEW, NEWEST = (
    f"{name}:{base64.urlsafe_b64encode(name.encode() * 8).decode()}" for name in ("2024", "2025", "2026")
)
SECRET = "modash-key-0123456789"


@pytest.fixture(autouse=True)
def old_key(settings: Settings) -> None:
    settings.CREDENTIAL_KEYS = OLD


def reseal() -> tuple[str, str, bool]:
    """Runs the command. Returns its output, its complaints, and whether it succeeded."""
    out, err = StringIO(), StringIO()
    try:
        call_command("reseal_credentials", stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), f"{err.getvalue()}{error}", False
    return out.getvalue(), err.getvalue(), True


def spoil(credential: Credential) -> None:
    Credential.objects.filter(pk=credential.pk).update(sealed=b"\x01\x042024" + b"not what was sealed" * 3)


def test_every_secret_moves_to_the_first_key(alice: Tenant, bob: Tenant, settings: Settings) -> None:
    for tenant in (alice, bob):
        credentials.store(tenant, "modash", f"{SECRET}-of-{tenant}")
    settings.CREDENTIAL_KEYS = f"{NEW},{OLD}"
    assert reseal()[0] == "2 resealed, 0 under the first key already.\n"
    settings.CREDENTIAL_KEYS = NEW
    opened = {sealing.secret_of(row).value for row in Credential.objects.all()}
    assert opened == {f"{SECRET}-of-Alice", f"{SECRET}-of-Bob"}


def test_nothing_else_of_a_row_changes(alice: Tenant, settings: Settings) -> None:
    before = credentials.store(alice, "modash", SECRET)
    settings.CREDENTIAL_KEYS = f"{NEW},{OLD}"
    reseal()
    after = Credential.objects.get()
    assert bytes(after.sealed) != bytes(before.sealed)
    for field in Credential._meta.concrete_fields:
        assert field.name == "sealed" or getattr(after, field.name) == getattr(before, field.name), field.name


def test_resealing_again_is_harmless_and_continues(alice: Tenant, settings: Settings) -> None:
    credentials.store(alice, "modash", SECRET)
    settings.CREDENTIAL_KEYS = f"{NEW},{OLD}"
    credentials.store(alice, "modash", SECRET, label="stored since")
    assert reseal()[0] == "1 resealed, 1 under the first key already.\n"
    sealed = set(map(bytes, Credential.objects.values_list("sealed", flat=True)))
    assert reseal()[0] == "0 resealed, 2 under the first key already.\n"
    assert set(map(bytes, Credential.objects.values_list("sealed", flat=True))) == sealed


def test_secrets_under_several_keys_move_to_one(alice: Tenant, settings: Settings) -> None:
    for label, keys in (("old", OLD), ("new", f"{NEW},{OLD}"), ("newest", f"{NEWEST},{NEW}")):
        settings.CREDENTIAL_KEYS = keys
        credentials.store(alice, "modash", f"{SECRET}-{label}", label=label)
    settings.CREDENTIAL_KEYS = f"{NEWEST},{NEW},{OLD}"
    assert reseal()[0] == "2 resealed, 1 under the first key already.\n"
    settings.CREDENTIAL_KEYS = NEWEST
    assert all(sealing.secret_of(row).value == f"{SECRET}-{row.label}" for row in Credential.objects.all())


def test_an_unopenable_secret_is_named_and_stops_no_other(alice: Tenant, bob: Tenant, settings: Settings) -> None:
    spoil(credentials.store(alice, "modash", SECRET, label="broken"))
    credentials.store(bob, "modash", SECRET)
    settings.CREDENTIAL_KEYS = f"{NEW},{OLD}"
    printed, complained, content = reseal()
    assert printed == "1 resealed, 0 under the first key already.\n"
    assert "Alice: modash/broken cannot be opened and needs re-entry." in complained
    assert not content
    assert SECRET not in printed + complained
    assert sealing.is_unreadable(alice.credentials.get())
    assert not sealing.is_unreadable(bob.credentials.get())


def test_a_key_of_the_first_name_that_opens_nothing_is_named_too(alice: Tenant, settings: Settings) -> None:
    credentials.store(alice, "modash", SECRET)
    settings.CREDENTIAL_KEYS = OLD.partition(":")[0] + ":" + NEW.partition(":")[2]
    assert not reseal()[2]


def test_a_secret_under_a_key_that_is_gone_needs_re_entry_until_it_is_stored_anew(
    alice: Tenant, settings: Settings
) -> None:
    credential = credentials.store(alice, "modash", SECRET)
    settings.CREDENTIAL_KEYS = NEW
    assert sealing.is_unreadable(credential)
    assert not reseal()[2]
    assert not sealing.is_unreadable(credentials.store(alice, "modash", SECRET))
    assert reseal()[2]


def test_a_key_that_is_stored_meanwhile_wins(
    alice: Tenant, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.store(alice, "modash", SECRET)
    seal = vault.seal
    interrupted: list[bool] = []

    def store_first(plaintext: str, **rest: Any) -> bytes:
        """Stores a key as another process would, between reading and writing, sealed with the old key."""
        if not interrupted:
            interrupted.append(True)
            settings.CREDENTIAL_KEYS = OLD
            credentials.store(alice, "modash", "stored-meanwhile")
            settings.CREDENTIAL_KEYS = f"{NEW},{OLD}"
        return seal(plaintext, **rest)

    settings.CREDENTIAL_KEYS = f"{NEW},{OLD}"
    monkeypatch.setattr(vault, "seal", store_first)
    assert reseal()[2]
    settings.CREDENTIAL_KEYS = NEW
    assert sealing.secret_of(Credential.objects.get()).value == "stored-meanwhile"


@pytest.mark.django_db(transaction=True)
def test_keys_that_are_stored_beside_it_are_never_lost(settings: Settings) -> None:
    tenant = Tenant.objects.create(name="Alice")
    labels = [f"key {number}" for number in range(8)]
    for label in labels:
        credentials.store(tenant, "modash", "the-first", label=label)
    settings.CREDENTIAL_KEYS = f"{NEW},{OLD}"

    def store_all() -> None:
        for label in labels:
            credentials.store(tenant, "modash", f"the-second-{label[-1]}", label=label)

    at_once([sealing.reseal, store_all, sealing.reseal])
    settings.CREDENTIAL_KEYS = NEW
    held = {row.label: sealing.secret_of(row).value for row in Credential.objects.all()}
    assert held == {label: f"the-second-{label[-1]}" for label in labels}


def test_webhook_secrets_move_with_the_keys(alice: Tenant, settings: Settings) -> None:
    endpoint, secret = endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks")
    credentials.store(alice, "modash", SECRET)
    settings.CREDENTIAL_KEYS = f"{NEW},{OLD}"
    assert reseal()[0] == "2 resealed, 0 under the first key already.\n"
    settings.CREDENTIAL_KEYS = NEW
    endpoint.refresh_from_db()
    assert endpoints.secrets_of(endpoint, at=timezone.now()) == [secret]


def test_a_webhook_secret_that_no_key_opens_is_named_by_its_address(alice: Tenant, settings: Settings) -> None:
    endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks")
    settings.CREDENTIAL_KEYS = NEW
    _, complaint, content = reseal()
    assert not content
    assert "Alice: the webhook secret of https://alice.example/hooks cannot be opened; rotate it." in complaint
