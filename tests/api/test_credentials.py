"""Credentials over HTTP: the secret goes in and never comes out, and a check never keeps one from being stored."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import redis
from django.conf import settings as django_settings
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Tenant
from providers import policies
from providers.keyring import sealing, states
from providers.models import Credential, Policy
from tests.api.test_lists import read_all
from tests.api.test_openapi import described
from tests.api.test_problems import problem_of
from tests.providers.conftest import Provider, provider

__all__ = ["provider"]

PATH = "/v1/credentials"
KEYS = ("another-form", "sk-mavi-0123456789")
SECRET = "modash-key-0123456789"
GOOD = {"error": False, "user": {}, "billing": {"credits": 12.5, "rawRequests": 3}}
REJECTED = {"error": True, "code": "api_token_invalid", "message": "Bad token"}


@pytest.fixture(autouse=True)
def brisk(db: None) -> None:
    """A lane that hardly waits, whose log is new."""
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    redis.Redis.from_url(django_settings.REDIS_URL).flushdb()


@pytest.fixture
def modash(provider: Provider, settings: Settings) -> Provider:
    settings.MODASH_BASE_URL = provider.url
    provider.answers(GOOD)
    return provider


@pytest.fixture
def alices(api: APIClient) -> Credential:
    """Returns the key that Alice has stored already, her default for Modash."""
    return Credential.objects.get()


def create(api: APIClient, **changes: Any) -> Any:
    body = {"provider": "modash", "secret": SECRET, "label": "spare"} | changes
    return api.post(PATH, {name: value for name, value in body.items() if value is not None}, format="json")


def patch(api: APIClient, credential: Credential, **changes: Any) -> Any:
    return api.patch(f"{PATH}/{credential.pk}", changes, format="json")


def errors_of(response: Any) -> dict[str, str]:
    assert response.status_code == 400, response.content
    return {error["field"]: error["code"] for error in problem_of(response)["errors"]}


def test_a_magic_key_is_stored_for_the_sandbox_alone(api: APIClient, modash: Provider, alices: Credential) -> None:
    alices.delete()
    shown = create(api, secret="sandbox_error_alice", label="magic").json()
    assert (shown["state"], shown["is_default"], shown["checked_at"]) == ("unknown", False, None)
    assert not modash.headers


def test_a_key_is_stored_checked_and_told_of_without_itself(api: APIClient, modash: Provider) -> None:
    response = create(api)
    assert response.status_code == 201
    shown = response.json()
    assert response["Location"] == f"{PATH}/{shown['id']}"
    assert (shown["provider"], shown["label"], shown["is_default"]) == ("modash", "spare", False)
    assert (shown["state"], shown["needs_reentry"], shown["check_problem"]) == ("verified", False, None)
    account = shown["account"]
    assert (account["credits"], account["limits"]) == ("12.5", {"rawRequests": 3})
    assert modash.headers["HTTP_AUTHORIZATION"] == f"Bearer {SECRET}"
    assert api.get(response["Location"]).json() == shown


def test_the_secret_comes_out_nowhere(
    api: APIClient, modash: Provider, caplog: pytest.LogCaptureFixture, alices: Credential
) -> None:
    caplog.set_level(logging.DEBUG)
    modash.answers(REJECTED | {"message": f"{SECRET} is no key"}, status=401)
    responses = [create(api), create(api), create(api, provider="nobody"), create(api, secret=f"{SECRET} {SECRET}")]
    responses += [patch(api, alices, secret=SECRET), patch(api, alices, secret=SECRET, label=7)]
    responses += [api.get(PATH), api.post(f"{PATH}/{alices.pk}/verify"), api.get(f"{PATH}/{alices.pk}")]
    assert [response.status_code for response in responses] == [201, 400, 400, 400, 200, 400, 200, 200, 200]
    assert not any(SECRET in response.content.decode() for response in responses)
    assert SECRET not in caplog.text
    row = Credential.objects.get(label="spare")
    assert SECRET not in json.dumps([row.check_problem, row.account, row.fingerprint])


def test_the_first_key_is_the_default_and_another_can_be_made_it(api: APIClient, alices: Credential) -> None:
    first = create(api, provider="keyapi", label=None).json()
    assert (first["label"], first["is_default"], first["state"]) == ("default", True, "unknown")
    second = create(api, provider="keyapi", is_default=True).json()
    assert second["is_default"]
    assert not api.get(f"{PATH}/{first['id']}").json()["is_default"]
    assert api.get(f"{PATH}/{alices.pk}").json()["is_default"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_with_the_provider_keeps_no_key_from_being_stored(
    api: APIClient, modash: Provider, status: int
) -> None:
    modash.answers(b"", status=status)
    shown = create(api).json()
    assert (shown["state"], shown["account"]) == ("unknown", None)
    assert "Modash" in shown["check_problem"]


def test_a_key_that_the_provider_refuses_is_stored_and_says_so(api: APIClient, modash: Provider) -> None:
    modash.answers(REJECTED, status=401)
    response = create(api)
    assert (response.status_code, response.json()["state"]) == (201, "invalid")
    assert "does not accept" in response.json()["check_problem"]


def test_a_label_that_is_taken_is_named(api: APIClient, alices: Credential) -> None:
    assert errors_of(create(api, label="default")) == {"label": "label_taken"}
    spare = Credential.objects.get(pk=create(api, provider="keyapi", label="default").json()["id"])
    assert errors_of(create(api, provider="keyapi", label="default")) == {"label": "label_taken"}
    assert patch(api, spare, label="default").status_code == 200
    assert sealing.secret_of(alices).value == "alices-modash-key"


WRONG: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"provider": "nobody"}, {"provider": "invalid_choice"}),
    ({"provider": None}, {"provider": "required"}),
    ({"secret": None}, {"secret": "required"}),
    ({"secret": ""}, {"secret": "blank"}),
    ({"secret": "two words"}, {"secret": "bad_secret"}),
    ({"secret": "line\nbreak"}, {"secret": "bad_secret"}),
    ({"secret": "x" * 4097}, {"secret": "bad_secret"}),
    ({"secret": 12}, {"secret": "invalid"}),
    ({"label": ""}, {"label": "blank"}),
    ({"label": "x" * 101}, {"label": "max_length"}),
    ({"label": "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001"}, {"label": "looks_like_an_id"}),
    ({"label": "nul\0"}, {"label": "null_characters_not_allowed"}),
    ({"is_default": "yes"}, {"is_default": "invalid"}),
    ({"state": "verified"}, {"state": "unknown_field"}),
    ({"provider": "nobody", "secret": 1, "colour": 2}, {"colour": "unknown_field", "provider": "", "secret": ""}),
]


@pytest.mark.parametrize(("changes", "wrong"), WRONG)
def test_a_wrong_field_is_named_and_nothing_is_stored(
    api: APIClient, changes: dict[str, Any], wrong: dict[str, str]
) -> None:
    told = errors_of(create(api, **changes))
    assert told.keys() == wrong.keys()
    assert all(code in ("", told[field]) for field, code in wrong.items())
    assert Credential.objects.count() == 1


def test_credentials_are_listed_by_provider_and_label(api: APIClient, modash: Provider) -> None:
    for where, label in (("modash", "b"), ("modash", "a"), ("keyapi", "z")):
        create(api, provider=where, label=label)
    rows = read_all(api, PATH, limit=3)
    assert [(row["provider"], row["label"]) for row in rows] == [
        *(("keyapi", "z"), ("modash", "a")),
        *(("modash", "b"), ("modash", "default")),
    ]
    assert [row["label"] for row in read_all(api, PATH, provider="keyapi")] == ["z"]
    assert errors_of(api.get(PATH, {"provider": "nobody"})) == {"provider": "invalid_choice"}


def test_a_new_secret_takes_the_place_of_the_old_one(api: APIClient, modash: Provider, alices: Credential) -> None:
    states.mark(alices, Credential.State.INVALID)
    shown = patch(api, alices, secret="another-key").json()
    assert (shown["id"], shown["label"], shown["state"]) == (str(alices.pk), "default", "verified")
    assert modash.headers["HTTP_AUTHORIZATION"] == "Bearer another-key"
    assert sealing.secret_of(Credential.objects.get()).value == "another-key"


def test_a_new_label_asks_no_provider(api: APIClient, modash: Provider, alices: Credential) -> None:
    shown = patch(api, alices, label="agency").json()
    assert (shown["label"], shown["state"]) == ("agency", "unknown")
    assert not modash.headers


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, {"body": "nothing_given"}),
        ({"is_default": False}, {"is_default": "always_one"}),
        ({"provider": "keyapi"}, {"provider": "unknown_field"}),
        ({"secret": ""}, {"secret": "blank"}),
        ({"label": None}, {"label": "null"}),
    ],
)
def test_a_wrong_change_is_named_and_changes_nothing(
    api: APIClient, alices: Credential, changes: dict[str, Any], wrong: dict[str, str]
) -> None:
    assert errors_of(patch(api, alices, **changes)) == wrong
    assert Credential.objects.values().get() == Credential.objects.filter(pk=alices.pk).values().get()


def test_one_that_is_not_the_default_need_not_become_it(api: APIClient, modash: Provider) -> None:
    spare = Credential.objects.get(pk=create(api).json()["id"])
    assert patch(api, spare, is_default=False).status_code == 200
    assert patch(api, spare, is_default=True).json()["is_default"]
    assert Credential.objects.get(is_default=True) == spare


def test_a_deleted_one_is_gone_and_the_oldest_other_is_the_default(
    api: APIClient, modash: Provider, alices: Credential
) -> None:
    oldest, _ = create(api, label="z").json(), create(api, label="a")
    assert api.delete(f"{PATH}/{alices.pk}").status_code == 204
    assert problem_of(api.get(f"{PATH}/{alices.pk}"))["code"] == "not_found"
    assert problem_of(api.delete(f"{PATH}/{alices.pk}"))["code"] == "not_found"
    assert api.get(f"{PATH}/{oldest['id']}").json()["is_default"]


def test_verify_asks_the_provider_and_says_what_came(api: APIClient, modash: Provider, alices: Credential) -> None:
    path = f"{PATH}/{alices.pk}/verify"
    told = []
    for body, status in ((GOOD, 200), (REJECTED, 401), (b"", 500), (GOOD, 200)):
        modash.answers(body, status=status)
        shown = api.post(path).json()
        told.append((shown["state"], shown["check_problem"] is None))
    assert told == [("verified", True), ("invalid", False), ("invalid", False), ("verified", True)]
    assert errors_of(api.post(path, {"secret": "x"}, format="json")) == {"secret": "unknown_field"}


def test_who_asks_to_verify_again_is_answered_by_the_provider_again(
    api: APIClient, modash: Provider, alices: Credential
) -> None:
    path = f"{PATH}/{alices.pk}/verify"
    told = []
    for body, status in ((GOOD, 200), (REJECTED, 401), (GOOD, 200)):
        modash.answers(body, status=status)
        told.append(api.post(path).json()["state"])
    assert told == ["verified", "invalid", "verified"]


def test_who_must_wait_to_verify_is_told_how_long(api: APIClient, modash: Provider, alices: Credential) -> None:
    path = f"{PATH}/{alices.pk}/verify"
    modash.answers({"error": True, "code": "too_many"}, status=429, headers={"Retry-After": "40"})
    api.post(path)
    modash.answers(GOOD)
    told = api.post(path).json()
    assert (told["state"], told["account"]) == ("unknown", None)
    assert re.search(r"ask again in (39|40) s\.", told["check_problem"])


def test_a_key_of_another_form_is_taken_with_a_warning(api: APIClient) -> None:
    shown = [
        api.post(PATH, {"provider": "memories", "label": key, "secret": key}, format="json").json() for key in KEYS
    ]
    assert [bool(each["warning"]) for each in shown] == [True, False]
    assert "sk-mavi-" in shown[0]["warning"]
    assert [each["warning"] for each in api.get(f"{PATH}?provider=memories").json()["data"]] == [
        each["warning"] for each in shown
    ]


def test_one_that_cannot_be_opened_says_so_until_it_is_entered_anew(
    api: APIClient, modash: Provider, alices: Credential
) -> None:
    Credential.objects.update(sealed=b"no longer what it was")
    shown = api.post(f"{PATH}/{alices.pk}/verify").json()
    assert (shown["needs_reentry"], shown["check_problem"]) == (True, sealing.NEEDS_REENTRY)
    assert api.get(PATH).json()["data"][0]["needs_reentry"]
    repaired = patch(api, alices, secret=SECRET).json()
    assert (repaired["needs_reentry"], repaired["state"]) == (False, "verified")


def test_a_test_key_sees_what_there_is_and_changes_nothing(
    sandbox: APIClient, api: APIClient, modash: Provider, alices: Credential
) -> None:
    api.post(f"{PATH}/{alices.pk}/verify")
    row = Credential.objects.values().get()
    shown = sandbox.get(PATH).json()["data"][0]
    assert (shown["label"], shown["state"], shown["account"]) == ("default", "verified", None)
    refused = [create(sandbox), patch(sandbox, alices, label="x"), sandbox.delete(f"{PATH}/{alices.pk}")]
    refused.append(sandbox.post(f"{PATH}/{alices.pk}/verify"))
    assert {problem_of(response)["code"] for response in refused} == {"permission_denied"}
    assert Credential.objects.values().get() == row


CALLS: list[Callable[[APIClient, UUID], Any]] = [
    lambda client, id: client.get(f"{PATH}/{id}"),
    lambda client, id: client.patch(f"{PATH}/{id}", {"label": "mine"}, format="json"),
    lambda client, id: client.patch(f"{PATH}/{id}", {"colour": "red"}, format="json"),
    lambda client, id: client.delete(f"{PATH}/{id}"),
    lambda client, id: client.post(f"{PATH}/{id}/verify"),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_strangers_credential_is_not_there(
    stranger: APIClient, alices: Credential, alice: Tenant, modash: Provider, call: Callable[[APIClient, UUID], Any]
) -> None:
    before = Credential.objects.values().get()
    hers, nobodys = (problem_of(call(stranger, id)) for id in (alices.pk, alice.pk))
    assert hers.pop("request_id") != nobodys.pop("request_id")
    assert hers == nobodys
    assert hers["status"] == 404
    assert Credential.objects.values().get() == before
    assert not modash.headers


def test_all_of_it_is_as_described(api: APIClient, sandbox: APIClient, modash: Provider, alices: Credential) -> None:
    one = f"{PATH}/{alices.pk}"
    described(PATH, "post", create(api))
    described(PATH, "post", create(api))
    described(PATH, "post", create(sandbox))
    described(PATH, "get", api.get(PATH))
    described(f"{PATH}/{{id}}", "patch", patch(api, alices, secret="another-key"))
    described(f"{PATH}/{{id}}", "patch", patch(api, alices))
    described(f"{PATH}/{{id}}", "patch", api.patch(one, "{", content_type="text/plain"))
    described(f"{PATH}/{{id}}", "get", api.get(one))
    described(f"{PATH}/{{id}}/verify", "post", api.post(f"{one}/verify"))
    described(f"{PATH}/{{id}}", "delete", api.delete(one))
    described(f"{PATH}/{{id}}", "get", api.get(one))


def test_past_the_rate_no_key_is_stored_replaced_or_verified(
    alice: Tenant, api: APIClient, modash: Provider, alices: Credential
) -> None:
    alice.key_checks_per_minute = 2
    alice.save()
    assert [create(api, label=f"key {number}").status_code for number in range(4)] == [201, 201, 429, 429]
    before = (Credential.objects.count(), len(modash.headers))
    refused = [patch(api, alices, secret="guessed"), api.post(f"{PATH}/{alices.pk}/verify")]
    assert [answer.status_code for answer in refused] == [429, 429]
    assert all(0 < int(answer["Retry-After"]) <= 30 for answer in refused)
    assert "2 provider keys a minute" in problem_of(refused[0])["detail"]
    assert (Credential.objects.count(), len(modash.headers)) == before
    assert patch(api, alices, label="renamed").status_code == 200


def test_past_the_most_another_key_is_a_409_that_says_how_many(
    alice: Tenant, api: APIClient, alices: Credential
) -> None:
    alice.most_credentials = 1
    alice.save()
    problem = problem_of(create(api))
    assert (problem["status"], problem["code"]) == (409, "too_many_credentials")
    assert problem["detail"].startswith("1 provider keys are stored")
