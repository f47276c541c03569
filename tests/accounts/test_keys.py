from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant


@pytest.mark.parametrize("mode", list(Mode))
def test_a_new_key_says_its_mode_and_is_found(alice: Tenant, mode: Mode) -> None:
    key, secret = keys.issue(alice, mode, "checkout")
    assert secret.startswith(f"sl_{mode.value}_")
    assert (key.mode, key.label) == (mode, "checkout")
    assert keys.find(secret) == key


def test_the_secret_is_stored_nowhere(alice: Tenant) -> None:
    key, secret = keys.issue(alice, Mode.LIVE)
    row = ApiKey.objects.filter(pk=key.pk).values().get()
    assert not any(secret in str(value) or secret[15:] in str(value) for value in row.values())
    assert secret.startswith(key.prefix)
    assert len(secret) - len(key.prefix) >= 32


def test_finding_takes_one_query_with_the_tenant(
    alice: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, secret = keys.issue(alice, Mode.LIVE)
    with django_assert_num_queries(1):
        found = keys.find(secret)
        assert found is not None
        assert found.tenant.name == "Alice"


def test_any_single_typo_is_refused_without_a_query(
    alice: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, secret = keys.issue(alice, Mode.LIVE)
    start = len("sl_live_")
    typos = [secret[:at] + ("a" if secret[at] != "a" else "b") + secret[at + 1 :] for at in range(start, len(secret))]
    swapped_mode = secret.replace("live", "test")
    with django_assert_num_queries(0):
        for wrong in [*typos, swapped_mode, secret[:-1], secret + "a", secret + "\n", "", "é" * 46]:
            assert keys.find(wrong) is None


def test_a_well_formed_key_that_was_never_issued_is_unknown(alice: Tenant) -> None:
    key, secret = keys.issue(alice, Mode.LIVE)
    key.delete()
    assert keys.well_formed(secret)
    assert keys.find(secret) is None


def test_a_revoked_key_is_not_found_and_keeps_its_first_time(alice: Tenant) -> None:
    key, secret = keys.issue(alice, Mode.LIVE)
    keys.revoke(key)
    first = key.revoked_at
    keys.revoke(key)
    assert keys.find(secret) is None
    assert key.revoked_at == first is not None


def test_use_is_noted_once_a_minute(alice: Tenant, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    key, _ = keys.issue(alice, Mode.LIVE)
    keys.note_use(key)
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None
    with django_assert_num_queries(0):
        keys.note_use(key)
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    key.refresh_from_db()
    keys.note_use(key)
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert key.last_used_at > first


def test_of_two_requests_at_once_one_notes_the_use(alice: Tenant) -> None:
    key, _ = keys.issue(alice, Mode.LIVE)
    same = ApiKey.objects.get(pk=key.pk)
    keys.note_use(key)
    key.refresh_from_db()
    keys.note_use(same)
    same.refresh_from_db()
    assert same.last_used_at == key.last_used_at
