"""`POST /v1/credentials/{id}/reconcile` and `GET /v1/credentials/{id}/reconciliations`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Mode, Tenant
from billing.models import Reading, Reconciliation
from providers.keyring import credentials
from providers.models import Credential
from tests.api.test_openapi import described
from tests.api.test_problems import problem_of
from tests.conftest import ClientOf
from tests.providers.conftest import Provider, provider
from tests.searches.conftest import redis_client
from tests.searches.reconciliation.conftest import HOUR, brisk

__all__ = ["brisk", "provider", "redis_client"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("brisk")]


@pytest.fixture(autouse=True)
def modash(provider: Provider, settings: Settings) -> Provider:
    settings.MODASH_BASE_URL = provider.url
    left(provider, 100)
    return provider


@pytest.fixture
def path(api: APIClient) -> str:
    return f"/v1/credentials/{Credential.objects.get().pk}"


def left(modash: Provider, credits: float) -> None:
    modash.answers({"error": False, "user": {}, "billing": {"credits": credits, "rawRequests": 0}})
    Reading.objects.update(asked_at=F("asked_at") - HOUR, answered_at=F("answered_at") - HOUR)


def reconciled(api: APIClient, path: str) -> dict[str, Any]:
    response = api.post(f"{path}/reconcile")
    assert response.status_code == 200, response.content
    described("/v1/credentials/{id}/reconcile", "post", response)
    reading: dict[str, Any] = response.json()
    return reading


def test_a_request_that_is_sent_again_with_its_key_asks_the_provider_once(api: APIClient, path: str) -> None:
    first, second = (api.post(f"{path}/reconcile", headers={"Idempotency-Key": "a"}) for _ in range(2))
    assert (second.json(), second["Idempotent-Replayed"]) == (first.json(), "true")
    assert Reading.objects.count() == 1


def test_the_first_reading_is_compared_with_nothing(api: APIClient, path: str) -> None:
    reading = reconciled(api, path)
    row = Reading.objects.get()
    assert reading == {
        "id": str(row.pk),
        "credential_id": str(row.credential_id),
        "provider": "modash",
        "read_at": reading["read_at"],
        "credits": "100",
        "detail": "100 credits are left; the next reading is compared with this one.",
        "reconciliation": None,
    }


def test_the_second_is_compared_with_the_first(api: APIClient, path: str, modash: Provider) -> None:
    reconciled(api, path)
    left(modash, 97.5)
    found = reconciled(api, path)["reconciliation"]
    row = Reconciliation.objects.get()
    assert found == {
        "id": str(row.pk),
        "credential_id": str(row.credential_id),
        "provider": "modash",
        "began_at": found["began_at"],
        "ended_at": found["ended_at"],
        "state": "shared_account",
        "detail": "The provider counted 2.5 credits more than all calls with this key can have cost: its account is shared with "
        "calls that are made elsewhere.",
        "counted": "2.5",
        "calls": 0,
        "billed": "0",
        "overbilled": "0",
        "overlapping": "0",
        "unknown": "0",
        "is_shared": True,
        "topped_up": "0",
        "drift": "2.5",
        "created_at": found["created_at"],
    }
    assert found["began_at"] < found["ended_at"] <= found["created_at"]


def test_a_reading_a_long_time_after_the_last_says_why_nothing_was_compared(
    api: APIClient, path: str, modash: Provider
) -> None:
    reconciled(api, path)
    week = timedelta(days=7)
    Reading.objects.update(asked_at=F("asked_at") - week, answered_at=F("answered_at") - week)
    reading = reconciled(api, path)
    assert (reading["reconciliation"], Reconciliation.objects.count()) == (None, 0)
    assert "more than 7 days older" in reading["detail"]
    left(modash, 97.5)
    assert reconciled(api, path)["detail"].startswith("The provider counted 2.5 credits more")


def test_comparisons_are_listed_in_pages_newest_first(api: APIClient, path: str, modash: Provider) -> None:
    for credits in (100, 97.5, 95, 200):
        left(modash, credits)
        reconciled(api, path)
    response = api.get(f"{path}/reconciliations", {"limit": 2})
    described("/v1/credentials/{id}/reconciliations", "get", response)
    first = response.json()
    assert [row["state"] for row in first["data"]] == ["topped_up", "shared_account"]
    second = api.get(f"{path}/reconciliations", {"limit": 2, "cursor": first["next_cursor"]}).json()
    assert ([row["drift"] for row in second["data"]], second["has_more"]) == (["2.5"], False)


def test_another_tenants_key_is_not_there(stranger: APIClient, path: str) -> None:
    assert problem_of(stranger.post(f"{path}/reconcile"))["status"] == 404
    assert problem_of(stranger.get(f"{path}/reconciliations"))["status"] == 404
    assert not Reading.objects.exists()


def test_a_test_key_reads_nothing_and_sees_nothing(
    api: APIClient, path: str, modash: Provider, alice: Tenant, client_of: ClientOf
) -> None:
    reconciled(api, path)
    left(modash, 90)
    reconciled(api, path)
    tester = client_of(alice, Mode.TEST)
    assert problem_of(tester.post(f"{path}/reconcile"))["status"] == 403
    assert tester.get(f"{path}/reconciliations").json()["data"] == []


def test_a_provider_that_tells_no_count_is_a_conflict(api: APIClient, alice: Tenant) -> None:
    credential = credentials.store(alice, "keyapi", "sk_live_1")
    problem = problem_of(api.post(f"/v1/credentials/{credential.pk}/reconcile"))
    assert (problem["status"], problem["code"]) == (409, "nothing_to_compare")
    assert (
        problem["detail"] == "keyapi does not tell what it has counted, so there is nothing to compare with its calls."
    )


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": True, "code": "api_token_invalid", "message": "No"}, (409, "credential_unusable")),
        (500, b"", (503, "provider_unavailable")),
        (200, {"error": False, "user": {}, "billing": {}}, (409, "nothing_to_compare")),
    ],
)
def test_a_reading_that_fails_says_why(
    api: APIClient, path: str, modash: Provider, status: int, body: Any, expected: tuple[int, str]
) -> None:
    modash.answers(body, status=status)
    problem = problem_of(api.post(f"{path}/reconcile"))
    assert (problem["status"], problem["code"]) == expected
    assert problem["detail"]
    assert not Reading.objects.exists()


def test_a_key_that_cannot_be_opened_says_that_it_needs_re_entry(api: APIClient, path: str) -> None:
    Credential.objects.update(sealed=b"changed")
    problem = problem_of(api.post(f"{path}/reconcile"))
    assert (problem["code"], problem["detail"]) == (
        "nothing_to_compare",
        "The stored key cannot be opened and needs re-entry.",
    )


def test_unknown_fields_and_cursors_are_refused(api: APIClient, path: str) -> None:
    assert problem_of(api.post(f"{path}/reconcile", {"deep": True}, format="json"))["status"] == 400
    assert problem_of(api.get(f"{path}/reconciliations", {"cursor": "x"}))["errors"][0]["field"] == "cursor"
