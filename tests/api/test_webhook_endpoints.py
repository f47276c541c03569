"""Endpoints over HTTP: the secret is shown at its making alone, and no address is stored that could never be asked."""

from __future__ import annotations

import json
import logging
from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Delivery, Endpoint, Mode, Tenant
from accounts.web import rate_limits
from accounts.webhooks import endpoints
from tests.api.test_lists import read_all
from tests.api.test_openapi import described
from tests.api.test_problems import problem_of
from tests.conftest import ClientOf
from tests.racing import at_once

PATH = "/v1/webhook-endpoints"
URL = "https://example.com/hooks"


def create(api: APIClient, **changes: Any) -> Any:
    body = {"url": URL, "events": ["search.succeeded"]} | changes
    return api.post(PATH, {name: value for name, value in body.items() if value is not None}, format="json")


def made(api: APIClient, **changes: Any) -> dict[str, Any]:
    response = create(api, **changes)
    assert response.status_code == 201, response.content
    shown: dict[str, Any] = response.json()
    return shown


def patch(api: APIClient, endpoint: dict[str, Any], **changes: Any) -> Any:
    return api.patch(f"{PATH}/{endpoint['id']}", changes, format="json")


def errors_of(response: Any) -> dict[str, str]:
    assert response.status_code == 400, response.content
    return {error["field"]: error["code"] for error in problem_of(response)["errors"]}


def secrets_of(shown: dict[str, Any]) -> list[str]:
    return endpoints.secrets_of(Endpoint.objects.get(pk=shown["id"]), at=timezone.now())


def test_an_endpoint_is_made_and_its_secret_shown_once(api: APIClient) -> None:
    response = create(api, description="The shop's")
    shown = response.json()
    assert response["Location"] == f"{PATH}/{shown['id']}"
    assert secrets_of(shown) == [shown.pop("secret")]
    assert (shown["url"], shown["description"], shown["events"]) == (URL, "The shop's", ["search.succeeded"])
    assert (shown["mode"], shown["enabled"], shown["disabled_reason"], shown["failing_since"]) == (
        "live",
        True,
        None,
        None,
    )
    assert api.get(response["Location"]).json() == shown
    assert api.get(PATH).json()["data"] == [shown]


def test_without_events_it_is_sent_all(api: APIClient) -> None:
    assert made(api, events=None)["events"] == []


def test_the_secret_comes_out_nowhere_else(api: APIClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    first = made(api)
    second = api.post(f"{PATH}/{first['id']}/rotate-secret").json()
    responses = [patch(api, first, description="x"), api.get(PATH), api.get(f"{PATH}/{first['id']}")]
    responses += [api.post(f"{PATH}/{first['id']}/test"), api.get("/v1/webhook-deliveries")]
    told = "".join(response.content.decode() for response in responses) + caplog.text
    for secret in (first["secret"], second["secret"]):
        assert secret not in told
        assert secret.removeprefix("whsec_") not in told


def test_a_rotated_secret_signs_beside_the_one_before_for_a_day(api: APIClient) -> None:
    shown = made(api)
    assert shown["previous_secret_until"] is None
    rotated = api.post(f"{PATH}/{shown['id']}/rotate-secret").json()
    assert secrets_of(shown) == [rotated["secret"], shown["secret"]]
    assert rotated["previous_secret_until"] > rotated["updated_at"]
    again = api.post(f"{PATH}/{shown['id']}/rotate-secret").json()
    assert secrets_of(shown) == [again["secret"], rotated["secret"]]


def test_an_overlap_that_is_over_is_not_shown(api: APIClient) -> None:
    shown = made(api)
    api.post(f"{PATH}/{shown['id']}/rotate-secret")
    Endpoint.objects.update(previous_until="2026-11-01T00:00:00Z")
    assert api.get(f"{PATH}/{shown['id']}").json()["previous_secret_until"] is None


WRONG: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"url": None}, {"url": "required"}),
    ({"url": ""}, {"url": "blank"}),
    ({"url": 7}, {"url": "invalid"}),
    ({"url": "example.com/hooks"}, {"url": "bad_address"}),
    ({"url": "ftp://example.com/"}, {"url": "bad_address"}),
    ({"url": "https://alice:secret@example.com/"}, {"url": "bad_address"}),
    ({"url": "https://2130706433/"}, {"url": "bad_address"}),
    ({"url": "https://0x7f.0.0.1/"}, {"url": "bad_address"}),
    ({"url": "https://example.com/\0"}, {"url": ""}),
    ({"url": f"https://example.com/{'a' * 2048}"}, {"url": "bad_address"}),
    ({"url": "https://example.com:22/"}, {"url": "port_not_taken"}),
    ({"url": "https://127.0.0.1/"}, {"url": "private_address"}),
    ({"url": "https://[::ffff:127.0.0.1]/"}, {"url": "private_address"}),
    ({"url": "https://169.254.169.254/latest"}, {"url": "private_address"}),
    ({"description": "a" * 201}, {"description": "max_length"}),
    ({"description": "\ud800"}, {"description": ""}),
    ({"description": 7}, {"description": "invalid"}),
    ({"events": "search.succeeded"}, {"events": "not_a_list"}),
    ({"events": ["search.done"]}, {"events[0]": "invalid_choice"}),
    ({"events": ["search.failed", 7]}, {"events[1]": "invalid_choice"}),
    ({"events": ["ping"]}, {"events[0]": "invalid_choice"}),
    ({"events": ["search.failed", "search.failed"]}, {"events": "repeated"}),
    ({"secret": "whsec_own"}, {"secret": "unknown_field"}),
    ({"mode": "test"}, {"mode": "unknown_field"}),
    ({"url": "nowhere", "events": ["a"], "colour": "red"}, {"url": "", "events[0]": "", "colour": ""}),
]


@pytest.mark.parametrize(("changes", "wrong"), WRONG, ids=[ascii(changes)[:60] for changes, _ in WRONG])
def test_a_wrong_field_is_named_and_nothing_is_stored(
    api: APIClient, changes: dict[str, Any], wrong: dict[str, str]
) -> None:
    body = {"url": URL} | changes
    text = json.dumps({name: value for name, value in body.items() if value is not None})
    told = errors_of(api.post(PATH, text, content_type="application/json"))
    assert told.keys() == wrong.keys()
    assert all(code in ("", told[field]) for field, code in wrong.items())
    assert not Endpoint.objects.exists()


def test_an_unknown_type_is_told_the_known_ones(api: APIClient) -> None:
    detail = problem_of(create(api, events=["search.done"]))["detail"]
    assert all(f'"{type}"' in detail for type in ("search.succeeded", "lookup.finished", "endpoint.disabled"))


def test_a_refused_address_keeps_its_password_to_itself(api: APIClient) -> None:
    assert "hunter2" not in create(api, url="https://alice:hunter2@example.com/").content.decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://example.com/new"},
        {"description": "new"},
        {"description": ""},
        {"events": ["lookup.finished", "search.failed"]},
        {"events": []},
        {"url": "https://example.com/new", "description": "new", "events": []},
    ],
    ids=str,
)
def test_what_is_given_changes_and_nothing_else(api: APIClient, changes: dict[str, Any]) -> None:
    before = made(api, description="old")
    secret = before.pop("secret")
    after = patch(api, before, **changes).json()
    assert after.pop("updated_at") > before.pop("updated_at")
    assert after == before | changes
    assert secrets_of(before) == [secret]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, {"body": "nothing_given"}),
        ({"url": "https://10.0.0.1/"}, {"url": "private_address"}),
        ({"enabled": "false"}, {"enabled": "invalid"}),
        ({"enabled": None}, {"enabled": "null"}),
        ({"events": ["ping"]}, {"events[0]": "invalid_choice"}),
        ({"description": "new", "disabled_reason": ""}, {"disabled_reason": "unknown_field"}),
    ],
    ids=str,
)
def test_a_wrong_change_changes_nothing(api: APIClient, changes: dict[str, Any], wrong: dict[str, str]) -> None:
    before = made(api)
    del before["secret"]
    assert errors_of(patch(api, before, **changes)) == wrong
    assert api.get(f"{PATH}/{before['id']}").json() == before


def test_it_is_disabled_with_a_reason_and_enabled_again(api: APIClient) -> None:
    shown = made(api)
    disabled = patch(api, shown, enabled=False).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "by you")
    enabled = patch(api, shown, enabled=True).json()
    assert (enabled["enabled"], enabled["disabled_reason"]) == (True, None)


def test_what_is_deleted_is_gone_with_its_log(api: APIClient) -> None:
    shown = made(api)
    api.post(f"{PATH}/{shown['id']}/test")
    assert api.delete(f"{PATH}/{shown['id']}").status_code == 204
    assert api.delete(f"{PATH}/{shown['id']}").status_code == 404
    assert api.get("/v1/webhook-deliveries").json()["data"] == []


def test_there_are_so_many_and_no_more(api: APIClient, alice: Tenant) -> None:
    Tenant.objects.update(most_endpoints=2)
    first, _ = made(api), made(api, url=f"{URL}/2")
    refusal = problem_of(create(api, url=f"{URL}/3"))
    assert (refusal["status"], refusal["code"]) == (409, "too_many_endpoints")
    assert "2 endpoints" in refusal["detail"]
    api.delete(f"{PATH}/{first['id']}")
    made(api)


@pytest.mark.django_db(transaction=True)
def test_endpoints_made_at_once_are_no_more_than_there_may_be(alice: Tenant, client_of: ClientOf) -> None:
    Tenant.objects.update(most_endpoints=3)
    api = client_of(alice)
    answers = at_once([partial(create, api, url=f"{URL}/{number}") for number in range(8)])
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
    assert Endpoint.objects.count() == 3


def test_modes_do_not_see_each_other(api: APIClient, sandbox: APIClient) -> None:
    live, test = made(api), made(sandbox)
    assert (live["mode"], test["mode"]) == ("live", "test")
    for own, other, client in ((live, test, api), (test, live, sandbox)):
        assert [row["id"] for row in client.get(PATH).json()["data"]] == [own["id"]]
        assert client.get(f"{PATH}/{other['id']}").status_code == 404
        assert client.delete(f"{PATH}/{other['id']}").status_code == 404
        assert client.post(f"{PATH}/{other['id']}/rotate-secret").status_code == 404


def test_endpoints_come_newest_first_page_by_page(api: APIClient, alice: Tenant) -> None:
    ids = [str(endpoints.create(alice, Mode.LIVE, url=f"{URL}/{number}")[0].pk) for number in range(5)]
    assert [row["id"] for row in read_all(api, PATH, limit=2)] == ids[::-1]


def test_a_url_that_another_of_the_mode_has_is_refused_by_its_name(api: APIClient, sandbox: APIClient) -> None:
    made(api)
    made(sandbox)
    other = made(api, url=f"{URL}/other")
    for refused in (create(api), patch(api, other, url=URL)):
        assert errors_of(refused) == {"url": "repeated_url"}
    assert patch(api, other, url=f"{URL}/other").status_code == 200


def test_it_is_shown_until_when_it_asked_to_be_left_alone(api: APIClient) -> None:
    shown = made(api)
    assert shown["quiet_until"] is None
    Endpoint.objects.update(quiet_until="2026-01-01T00:00:00Z")
    assert api.get(f"{PATH}/{shown['id']}").json()["quiet_until"] is None
    Endpoint.objects.update(quiet_until="2126-01-01T00:00:00Z")
    response = api.get(f"{PATH}/{shown['id']}")
    assert response.json()["quiet_until"] == "2126-01-01T00:00:00Z"
    described(f"{PATH}/{{id}}", "get", response)


@pytest.mark.parametrize("action", ["rotate-secret", "test"])
def test_an_action_takes_no_field(api: APIClient, action: str) -> None:
    response = api.post(f"{PATH}/{made(api)['id']}/{action}", {"url": URL}, format="json")
    assert errors_of(response) == {"url": "unknown_field"}


def test_what_is_answered_is_as_described(api: APIClient) -> None:
    response = create(api)
    described(PATH, "post", response)
    described(PATH, "post", create(api, url="nowhere"))
    described(PATH, "get", api.get(PATH))
    one, address = f"{PATH}/{{id}}", f"{PATH}/{UUID(response.json()['id'])}"
    described(one, "get", api.get(address))
    described(one, "patch", api.patch(address, {"enabled": False}, format="json"))
    described(f"{one}/test", "post", api.post(f"{address}/test"))
    described(f"{one}/rotate-secret", "post", api.post(f"{address}/rotate-secret"))
    described(one, "delete", api.delete(address))
    described(one, "get", api.get(address))


def test_what_an_operator_disabled_does_not_come_back_by_its_tenants_wish(api: APIClient) -> None:
    endpoint = made(api)
    endpoints.disable(Endpoint.objects.get(pk=endpoint["id"]), endpoints.BY_OPERATOR)
    problem = problem_of(patch(api, endpoint, enabled=True))
    assert (problem["status"], problem["code"]) == (409, "endpoint_disabled")
    assert "operator" in problem["detail"]
    assert patch(api, endpoint, description="waits").json()["enabled"] is False


def test_of_sixty_small_requests_a_host_hears_few(api: APIClient, alice: Tenant, settings: Settings) -> None:
    settings.TENANT_TEST_EVENTS_PER_MINUTE = settings.TENANT_REDELIVERIES_PER_MINUTE = 4
    settings.WEBHOOK_TARGET_ENDPOINTS = 5
    answers = [create(api, url=f"https://victim.example/{number}") for number in range(20)]
    ids = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(ids) == 5
    tests = [api.post(f"{PATH}/{id}/test") for id in ids * 4]
    assert Counter(answer.status_code for answer in tests) == {200: 4, 429: 16}
    resent = [api.post(f"/v1/webhook-deliveries/{tests[0].json()['id']}/redeliver") for _ in range(20)]
    assert Counter(answer.status_code for answer in resent) == {200: 4, 429: 16}
    assert problem_of(resent[-1])["detail"].startswith("You may ask for 4 redeliveries a minute.")
    assert 0 < int(resent[-1]["Retry-After"]) <= 15
    assert Delivery.objects.count() == 4


def test_what_ranges_send_once_more_is_bounded_by_the_hour(
    api: APIClient, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "MOST_RESENT", 3)
    id = made(api)["id"]
    for _ in range(2):
        api.post(f"{PATH}/{id}/test")
    everything = {"from": "2020-01-01T00:00:00Z", "states": ["pending"]}
    answers = [api.post(f"{PATH}/{id}/redeliver", everything, format="json") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert "3 deliveries an hour" in problem_of(answers[1])["detail"]
