"""A key dies under its searches: they wait for it at no cost, say so, and go on by themselves, however it is replaced and how."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from rest_framework.test import APIClient

from accounts.models import Mode, Tenant, User
from billing import audit
from providers import policies
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches import tasks
from searches.calls import worker
from searches.lanes import credential_gate
from searches.models import Call, Lookup, QueueState, Search
from tests.api.examples import create, lookup, made
from tests.conftest import ClientOf
from tests.providers.conftest import Provider, provider

__all__ = ["provider"]

FOUND = {"error": False, "total": 0, "profiles": [], "user": {}, "billing": {"credits": 5}}
REJECTED = {"error": True, "code": "api_token_invalid", "message": "Bad token"}
EMPTY = {"error": True, "code": "not_enough_credits", "message": "None left"}


@pytest.fixture(autouse=True)
def modash(db: None, provider: Provider, settings: Settings) -> Provider:
    """A provider in a hurry, for searches and free calls alike."""
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    redis.Redis.from_url(django_settings.REDIS_URL).flushdb()
    settings.MODASH_BASE_URL = provider.url
    return provider


@pytest.fixture
def search(api: APIClient, modash: Provider) -> Search:
    """Makes a search of three lookups, the first of which found Alice's key dead."""
    search = made(api, lookups=[lookup()] * 3)
    modash.answers(REJECTED, status=401)
    visit()
    return search


def visit(times: int = 1, lane: str = "modash") -> None:
    for _ in range(times):
        worker.run(lane, str(uuid4()))


def go_on(modash: Provider) -> None:
    """Lets the sweep and the workers run until nothing is left to do."""
    modash.answers(FOUND)
    for _ in range(3):
        credential_gate.unblock()
        visit(3)


def told(api: APIClient, search: Search) -> list[tuple[str, str | None]]:
    shown = api.get(f"/v1/searches/{search.pk}").json()["lookups"]
    return [(each["status"], each["waiting_on"]) for each in shown]


def by_patch(api: APIClient, credential: Credential) -> None:
    assert api.patch(f"/v1/credentials/{credential.pk}", {"secret": "a-new-key"}, format="json").status_code == 200


def by_verify(api: APIClient, credential: Credential) -> None:
    assert api.post(f"/v1/credentials/{credential.pk}/verify").json()["state"] == "verified"


def by_command(api: APIClient, credential: Credential) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KEY", "a-new-key")
        call_command("store_credential", "Alice", "modash", "--from-env", "KEY")


def by_operator(api: APIClient, credential: Credential) -> None:
    desk = Client()
    desk.force_login(User.objects.create(username="olive", is_staff=True, is_superuser=True))
    page = reverse("admin:providers_credential_change", args=[credential.pk])
    assert desk.post(page, {"secret": "a-new-key"}).status_code == 302


def by_operators_verify(api: APIClient, credential: Credential) -> None:
    desk = Client()
    desk.force_login(User.objects.create(username="olive", is_staff=True, is_superuser=True))
    page = reverse("admin:providers_credential_verify", args=[credential.pk])
    assert desk.post(page, {"_form_submitted": "on"}).status_code == 200


WAYS: list[Callable[[APIClient, Credential], None]] = [
    by_patch,
    by_verify,
    by_command,
    by_operator,
    by_operators_verify,
]


def test_all_wait_for_it_and_no_more_calls_are_made(api: APIClient, search: Search, modash: Provider) -> None:
    assert told(api, search) == [("running", "credential"), ("queued", "credential"), ("queued", "credential")]
    credential_gate.unblock()
    visit(3)
    assert Call.objects.count() == 1
    later = made(api)
    assert told(api, later) == [("queued", "credential")]
    assert audit.differences() == []


@pytest.mark.parametrize("repair", WAYS)
def test_they_go_on_by_themselves_however_it_is_mended(
    api: APIClient, search: Search, modash: Provider, repair: Callable[[APIClient, Credential], None]
) -> None:
    modash.answers(FOUND)
    repair(api, Credential.objects.get())
    go_on(modash)
    assert told(api, search) == [("succeeded", None)] * 3
    assert Credential.objects.get().state == "verified"
    assert audit.differences() == []


def test_a_key_that_is_still_empty_costs_one_call(api: APIClient, search: Search, modash: Provider) -> None:
    modash.answers(FOUND)
    by_verify(api, Credential.objects.get())
    modash.answers(EMPTY, status=402)
    for _ in range(3):
        credential_gate.unblock()
        visit(3)
    assert Call.objects.count() == 2
    assert Credential.objects.get().state == "exhausted"
    assert {waiting_on for _, waiting_on in told(api, search)} == {"credential"}


def test_nobody_else_is_delayed(
    api: APIClient, search: Search, modash: Provider, bob: Tenant, client_of: ClientOf
) -> None:
    credentials.store(bob, "modash", "bobs-key")
    bobs = client_of(bob)
    his = made(bobs)
    modash.answers(FOUND)
    visit()
    assert told(bobs, his) == [("succeeded", None)]


def test_a_key_that_cannot_be_opened_makes_them_wait_until_it_is_entered_anew(
    api: APIClient, modash: Provider, bob: Tenant, client_of: ClientOf
) -> None:
    search = made(api, lookups=[lookup()] * 2)
    Credential.objects.update(sealed=b"no longer what it was")
    credentials.store(bob, "modash", "bobs-key")
    his = made(client_of(bob))
    modash.answers(FOUND)
    visit(4)
    assert told(api, search) == [("running", "credential"), ("queued", "credential")]
    assert told(client_of(bob), his) == [("succeeded", None)]
    assert "re-entry" in Call.objects.get(lookup__tenant__name="Alice").error_detail
    later = made(api)
    go_on(modash)
    assert told(api, search) + told(api, later) == [("running", "credential"), *[("queued", "credential")] * 2]
    assert Credential.objects.get(tenant__name="Alice").state == "unknown"
    by_patch(api, Credential.objects.get(tenant__name="Alice"))
    go_on(modash)
    assert told(api, search) + told(api, later) == [("succeeded", None)] * 3


def test_with_the_right_sealing_key_again_they_go_on_as_if_nothing_were(
    api: APIClient, modash: Provider, settings: Settings
) -> None:
    search = made(api, lookups=[lookup()] * 2)
    right = settings.CREDENTIAL_KEYS
    settings.CREDENTIAL_KEYS = f"wrong:{'A' * 43}="
    visit()
    assert api.get("/v1/credentials").json()["data"][0]["needs_reentry"]
    assert told(api, search) == [("running", "credential"), ("queued", "credential")]
    settings.CREDENTIAL_KEYS = right
    go_on(modash)
    assert told(api, search) == [("succeeded", None)] * 2


def test_those_of_a_deleted_one_fail_and_use_no_other(api: APIClient, search: Search, modash: Provider) -> None:
    spare = {"provider": "modash", "secret": "spare-key", "label": "spare"}
    modash.answers(FOUND)
    assert api.post("/v1/credentials", spare, format="json").status_code == 201
    assert api.delete(f"/v1/credentials/{Credential.objects.get(label='default').pk}").status_code == 204
    asked = len(Call.objects.filter(sent_at__isnull=False))
    tasks.sweep_lanes()
    assert set(Lookup.objects.values_list("status", "error_code")) == {("failed", "credential_missing")}
    assert len(Call.objects.filter(sent_at__isnull=False)) == asked
    assert audit.differences() == []
    later = made(api)
    assert later.lookups.get().credential == Credential.objects.get(label="spare")


def test_a_test_keys_lookups_do_not_wait_for_it(search: Search, alice: Tenant, client_of: ClientOf) -> None:
    client = client_of(alice, Mode.TEST)
    response = create(client, lookups=[lookup(credential="default")])
    assert response.status_code == 202
    assert response.json()["lookups"][0]["waiting_on"] != "credential"
    assert Lookup.objects.get(search=response.json()["id"]).queue_state == QueueState.READY


def test_what_an_operator_stores_is_checked_once_it_is_stored(
    api: APIClient, modash: Provider, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    modash.answers(FOUND)
    with django_capture_on_commit_callbacks(execute=True):
        by_operator(api, Credential.objects.get())
        assert Credential.objects.get().state == "unknown"
    assert Credential.objects.get().state == "verified"
    modash.answers(b"", status=500)
    with django_capture_on_commit_callbacks(execute=True):
        Credential.objects.update(state="unknown")
        User.objects.all().delete()
        by_operator(api, Credential.objects.get())
    assert (Credential.objects.get().state, bool(Credential.objects.get().check_problem)) == ("unknown", True)
