"""Tests the logins that `make serve` prints: created once, kept for their owner alone, and never stale."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from accounts import keys
from accounts.models import Mode, Tenant, User
from config.launcher import logins
from providers.models import Credential

pytestmark = pytest.mark.django_db


def test_each_login_opens_what_it_is_for(tmp_path: Path) -> None:
    made = logins.prepare(tmp_path)
    operator = User.objects.get(username=logins.OPERATOR)
    assert operator.is_superuser
    assert operator.check_password(made.password)
    for secret, mode in ((made.live, Mode.LIVE), (made.test, Mode.TEST)):
        found = keys.find(secret)
        assert found is not None
        assert (found.tenant.name, found.mode) == (logins.TENANT, mode)


def test_the_next_start_prints_the_same_logins(tmp_path: Path) -> None:
    assert logins.prepare(tmp_path) == logins.prepare(tmp_path)
    assert (tmp_path / "logins.json").stat().st_mode & 0o777 == 0o600


def test_a_revoked_key_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    before = logins.prepare(tmp_path)
    found = keys.find(before.live)
    assert found is not None
    keys.revoke(found)
    after = logins.prepare(tmp_path)
    assert keys.find(after.live) is not None
    assert (after.test, after.password) == (before.test, before.password)


def test_a_password_that_was_changed_is_not_printed(tmp_path: Path) -> None:
    logins.prepare(tmp_path)
    operator = User.objects.get(username=logins.OPERATOR)
    operator.set_password("their own")
    operator.save()
    assert logins.prepare(tmp_path).password == ""


def test_the_tenant_has_a_key_to_a_provider_that_the_sandbox_plays_and_to_no_other(
    tmp_path: Path, settings: Settings
) -> None:
    settings.MODASH_BASE_URL = "https://modash.example/v1"
    logins.prepare(tmp_path)
    assert not Credential.objects.exists()
    settings.MODASH_BASE_URL = f"{settings.SANDBOX_URL}/modash/v1"
    logins.prepare(tmp_path)
    assert Credential.objects.for_tenant(Tenant.objects.get(name=logins.TENANT)).get().provider == "modash"
