"""Each key whose provider tells its count is reconciled once a day."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F
from pytest_django import Settings

from accounts import clock
from accounts.models import Tenant
from billing.models import Reading, Reconciliation
from providers.keyring import credentials, verification
from providers.models import Credential, Policy
from searches import tasks
from searches.reconciliation import sweep
from tests.providers.conftest import Provider
from tests.searches.reconciliation.conftest import KEY, Serve

pytestmark = pytest.mark.django_db


def a_day_passes() -> None:
    day = timedelta(days=1)
    Reading.objects.update(asked_at=F("asked_at") - day, answered_at=F("answered_at") - day)
    Credential.objects.update(checked_at=F("checked_at") - day)


def test_a_key_is_read_once_a_day(serve: Serve, credential: Credential) -> None:
    serve()
    tasks.reconcile_credentials()
    tasks.reconcile_credentials()
    assert Reading.objects.count() == 1
    a_day_passes()
    tasks.reconcile_credentials()
    assert Reconciliation.objects.get().state == "matches"


def test_a_key_whose_provider_cannot_be_asked_is_asked_again_an_hour_later(
    provider: Provider, settings: Settings, credential: Credential
) -> None:
    settings.MODASH_BASE_URL = provider.url
    provider.answers(b"", status=500)
    sweep.run(seconds=20)
    assert list(sweep.due()) == []
    assert not Reading.objects.exists()
    Credential.objects.update(checked_at=clock.now() - sweep.RETRY_AFTER)
    assert list(sweep.due()) == [credential]


def test_a_key_that_is_checked_often_is_read_all_the_same(serve: Serve, credential: Credential) -> None:
    serve()
    verification.verify(credential)
    assert list(sweep.due()) == [credential]


@pytest.mark.parametrize("credits", [None, 1e40])
def test_a_key_without_a_count_of_credits_is_asked_again_an_hour_later(
    provider: Provider, settings: Settings, credential: Credential, credits: float | None
) -> None:
    settings.MODASH_BASE_URL = provider.url
    provider.answers({"error": False, "user": {}, "billing": {"credits": credits}})
    sweep.run(seconds=20)
    assert list(sweep.due()) == []
    Credential.objects.update(checked_at=clock.now() - sweep.RETRY_AFTER)
    assert list(sweep.due()) == [credential]


def test_a_key_that_cannot_be_asked_for_stops_no_other(serve: Serve, credential: Credential, bob: Tenant) -> None:
    serve()
    unreadable = credentials.store(bob, "modash", "bobs-key")
    Credential.objects.filter(pk=unreadable.pk).update(sealed=b"changed")
    sweep.run(seconds=20)
    assert Reading.objects.get().credential == credential


@pytest.mark.parametrize("state", Credential.DEAD_STATES)
def test_dead_keys_are_not_asked_for(brisk: None, credential: Credential, state: Credential.State) -> None:
    Credential.objects.update(state=state)
    assert not sweep.due()


def test_a_paused_provider_is_not_asked(brisk: None, credential: Credential) -> None:
    Policy.objects.update(paused=True)
    assert not sweep.due()


def test_only_keys_are_due_for_which_somebody_counts(credential: Credential, alice: Tenant, bob: Tenant) -> None:
    credentials.store(alice, "keyapi", "sk_live_1")
    credentials.create(alice, "modash", "sandbox_empty", label="magic")
    credentials.store(bob, "modash", KEY)
    Tenant.objects.filter(pk=bob.pk).update(suspended_at=clock.now())
    assert list(sweep.due()) == [credential]
