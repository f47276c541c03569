"""Tests that keys are checked where that costs nothing, and that only the provider's own word makes a key dead."""

from __future__ import annotations

import socket
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.core.management import call_command
from pytest_django import Settings

from accounts import clock
from accounts.models import Tenant
from providers import policies
from providers.contract import ProviderAccount
from providers.keyring import credentials, sealing, states, verification
from providers.models import Credential, Policy
from tests.providers.conftest import Provider

pytestmark = pytest.mark.django_db
State = Credential.State
SECRET = "modash-key-0123456789"
GOOD = {"error": False, "user": {}, "billing": {"credits": 12.5, "rawRequests": 3}}
REJECTED = {"error": True, "code": "api_token_invalid", "message": "Bad token"}
EMPTY = {"error": True, "code": "not_enough_credits", "message": "None left"}


@pytest.fixture(autouse=True)
def brisk(db: None) -> None:
    """Makes a new lane that hardly waits."""
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0, total_timeout_ms=300)
    redis.Redis.from_url(django_settings.REDIS_URL).flushdb()


@pytest.fixture
def modash(provider: Provider, settings: Settings) -> Provider:
    settings.MODASH_BASE_URL = provider.url
    return provider


@pytest.fixture
def credential(alice: Tenant) -> Credential:
    return credentials.store(alice, "modash", SECRET)


def checked(credential: Credential, how: Callable[[Credential], None] = verification.check) -> Credential:
    how(credential)
    return Credential.objects.get(pk=credential.pk)


def test_a_key_that_the_provider_accepts_is_verified_and_its_account_noted(
    modash: Provider, credential: Credential
) -> None:
    modash.answers(GOOD)
    row = checked(credential)
    assert (row.state, row.check_problem) == (State.VERIFIED, "")
    assert row.account == {"credits": "12.5", "limits": {"rawRequests": 3}}
    assert row.checked_at == row.account_read_at
    assert row.state_changed_at > credential.state_changed_at


@pytest.mark.parametrize(("body", "state"), [(REJECTED, State.INVALID), (EMPTY, State.EXHAUSTED)])
def test_the_providers_word_makes_a_key_dead(
    modash: Provider, credential: Credential, body: dict[str, Any], state: State
) -> None:
    modash.answers(body, status=401)
    row = checked(credential)
    assert (row.state, row.is_dead, row.probing) == (state, True, True)
    assert "Modash" in row.check_problem
    assert SECRET not in row.check_problem


@pytest.mark.parametrize("before", [State.UNKNOWN, State.VERIFIED, State.INVALID, State.EXHAUSTED])
@pytest.mark.parametrize("status", [429, 500, 503, 403, 302, 200])
def test_a_check_that_failed_leaves_the_state_as_it_was(
    modash: Provider, credential: Credential, before: State, status: int
) -> None:
    Credential.objects.update(state=before)
    modash.answers({"error": True, "code": "something_else"} if status != 200 else b"<html>", status=status)
    row = checked(credential)
    assert (row.state, row.account) == (before, None)
    assert row.check_problem
    assert row.checked_at is not None


def test_a_time_out_leaves_an_untried_key_untried(credential: Credential, settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.MODASH_BASE_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        row = checked(credential)
    assert row.state == State.UNKNOWN
    assert "did not answer" in row.check_problem


def test_a_dead_key_that_the_provider_accepts_again_is_verified(modash: Provider, credential: Credential) -> None:
    states.mark(credential, State.INVALID)
    modash.answers(GOOD)
    row = checked(credential, verification.verify)
    assert (row.state, row.probing) == (State.VERIFIED, True)


@pytest.mark.parametrize(("credits", "state"), [(0, State.EXHAUSTED), (0.025, State.VERIFIED), (None, State.VERIFIED)])
def test_an_empty_account_stays_empty_until_it_has_credits(
    modash: Provider, credential: Credential, credits: float | None, state: State
) -> None:
    states.mark(credential, State.EXHAUSTED)
    modash.answers({"user": {}, "billing": {"credits": credits}})
    assert checked(credential, verification.verify).state == state


def test_a_state_that_a_search_found_is_checked_again(modash: Provider, credential: Credential) -> None:
    modash.answers(GOOD)
    verified = checked(credential, verification.verify)
    states.mark(verified, State.EXHAUSTED, problem="Modash: none left.")
    row = Credential.objects.get(pk=credential.pk)
    assert (row.account, row.check_problem) == (None, "Modash: none left.")
    row = checked(row, verification.verify)
    assert (row.state, row.check_problem) == (State.VERIFIED, "")
    assert row.account is not None


def test_a_check_that_began_before_a_search_found_the_key_dead_does_not_revive_it(credential: Credential) -> None:
    began = clock.now()
    states.mark(credential, State.EXHAUSTED, problem="None left.", asked_at=clock.now())
    states.note_account(credential, ProviderAccount(credits=Decimal(5)), asked_at=began)
    row = Credential.objects.get(pk=credential.pk)
    assert (row.state, row.account, row.check_problem) == (State.EXHAUSTED, None, "None left.")
    states.note_account(credential, ProviderAccount(credits=Decimal(5)), asked_at=clock.now())
    assert Credential.objects.get(pk=credential.pk).state == State.VERIFIED


def test_a_call_sent_before_its_key_was_verified_neither_kills_nor_proves_it(credential: Credential) -> None:
    states.mark(credential, State.EXHAUSTED)
    sent_at = clock.now()
    states.note_account(credential, ProviderAccount(credits=Decimal(5)), asked_at=clock.now())
    assert not states.mark(credential, State.EXHAUSTED, asked_at=sent_at)
    states.worked(credential, asked_at=sent_at)
    row = Credential.objects.get(pk=credential.pk)
    assert (row.state, row.probing) == (State.VERIFIED, True)
    states.worked(credential, asked_at=clock.now())
    assert not Credential.objects.get(pk=credential.pk).probing


def test_a_new_key_of_an_empty_account_is_a_good_key(modash: Provider, credential: Credential) -> None:
    modash.answers({"user": {}, "billing": {"credits": 0}})
    assert checked(credential).state == State.VERIFIED


def test_a_check_of_the_old_key_changes_nothing_of_the_new_one(modash: Provider, credential: Credential) -> None:
    credentials.store(credential.tenant, "modash", "another-key")
    modash.answers(REJECTED, status=401)
    row = checked(credential)
    assert (row.state, row.checked_at, row.check_problem) == (State.UNKNOWN, None, "")


def test_a_new_key_clears_the_account_of_the_old_one(modash: Provider, credential: Credential) -> None:
    modash.answers(GOOD)
    checked(credential)
    row = credentials.store(credential.tenant, "modash", "another-key")
    assert (row.state, row.checked_at, row.account, row.account_read_at) == (State.UNKNOWN, None, None, None)


def test_without_free_calls_a_stored_key_is_not_checked(alice: Tenant) -> None:
    row = checked(credentials.store(alice, "keyapi", SECRET))
    assert (row.state, row.checked_at) == (State.UNKNOWN, None)


@pytest.mark.parametrize("before", [State.INVALID, State.EXHAUSTED])
def test_without_free_calls_verifying_makes_a_dead_key_untried(alice: Tenant, before: State) -> None:
    credential = credentials.store(alice, "keyapi", SECRET)
    states.mark(credential, before)
    row = checked(credential, verification.verify)
    assert (row.state, row.probing, row.checked_at) == (State.UNKNOWN, True, None)
    assert "next search" in row.check_problem


def test_without_free_calls_verifying_a_good_key_changes_no_state(alice: Tenant) -> None:
    credential = credentials.store(alice, "keyapi", SECRET)
    states.worked(credential)
    assert checked(credential, verification.verify).state == State.VERIFIED


def test_a_search_that_works_proves_the_key(alice: Tenant) -> None:
    credential = credentials.store(alice, "keyapi", SECRET)
    states.worked(credential)
    row = checked(credential, verification.verify)
    assert (row.is_unproven, row.blocks_lookups) == (True, False)
    states.worked(row)
    row.refresh_from_db()
    assert (row.is_unproven, row.check_problem) == (False, "")


def test_a_dead_key_keeps_its_problem_whatever_worked_before(modash: Provider, credential: Credential) -> None:
    modash.answers(REJECTED, status=401)
    row = checked(credential)
    states.worked(row)
    row.refresh_from_db()
    assert "Modash" in row.check_problem


@pytest.mark.parametrize("provider_name", ["modash", "keyapi"])
def test_a_key_that_cannot_be_opened_is_sent_nowhere(modash: Provider, alice: Tenant, provider_name: str) -> None:
    credential = credentials.store(alice, provider_name, SECRET)
    states.mark(credential, State.INVALID)
    Credential.objects.update(sealed=b"no longer what it was")
    row = checked(Credential.objects.get(pk=credential.pk), verification.verify)
    assert (row.state, row.check_problem) == (State.INVALID, sealing.NEEDS_REENTRY)
    assert not modash.headers


@pytest.mark.parametrize("secret", ["sandbox_rejected", "sandbox_no_credits_alice", "sandbox_of_no_name"])
def test_a_magic_key_is_shown_to_no_provider(modash: Provider, alice: Tenant, secret: str) -> None:
    credential = credentials.store(alice, "modash", secret)
    row = checked(credential)
    assert (row.state, row.checked_at, row.check_problem) == (State.UNKNOWN, None, "")
    states.mark(row, State.INVALID)
    row = checked(row, verification.verify)
    assert (row.state, row.checked_at) == (State.UNKNOWN, None)
    assert "next search" in row.check_problem
    assert not modash.headers


def test_the_command_prints_the_state_of_the_key(
    modash: Provider, alice: Tenant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODASH_KEY", SECRET)
    for body, status, state in ((GOOD, 200, "verified"), (REJECTED, 401, "invalid"), (b"", 500, "unknown")):
        modash.answers(body, status=status)
        call_command("store_credential", "Alice", "modash", "--from-env", "MODASH_KEY")
        printed = "".join(capsys.readouterr())
        assert f"It is {state}" in printed
        assert SECRET not in printed


def test_the_command_prints_whether_the_key_is_the_default(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def store(secret: str, label: str) -> str:
        monkeypatch.setenv("KEY", secret)
        call_command("store_credential", "Alice", "keyapi", "--from-env", "KEY", "--label", label)
        return capsys.readouterr().out

    magic = store("sandbox_down", "default")
    assert "labelled `default` and is not the default" in magic
    assert "none is the default, for a magic key is it only if you say so" in magic
    assert "It is your default" in store("sk_live_1", "main")
    assert "those use `main`" in store("sk_live_2", "spare")
