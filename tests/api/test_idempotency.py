"""`Idempotency-Key`: a POST that is sent again does nothing again, and is answered by what the first one did."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import idempotency_keys
from accounts.models import IdempotencyKey, Tenant
from billing.models import Entry, Hold, TenantCap
from providers.keyring import credentials
from searches import pictures
from searches.lifecycle import cancellation
from searches.models import Search
from tests.api.examples import create_form, lookup, order
from tests.conftest import ClientOf
from tests.searches import samples

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
SEARCHES = "/v1/searches"


def post(api: APIClient, path: str = SEARCHES, body: Any = None, *, key: str = KEY, **headers: str) -> Any:
    """Posts with the key; by default a search."""
    content = json.dumps(order() if body is None else body)
    return api.post(path, content, content_type="application/json", headers={"Idempotency-Key": key, **headers})


def is_replay(response: Any) -> bool:
    return bool(response.headers.get("Idempotent-Replayed") == "true")


def refusal(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_a_search_that_is_sent_again_is_the_first_one(api: APIClient) -> None:
    first, second = post(api), post(api)
    assert (first.status_code, is_replay(first)) == (202, False)
    assert (second.status_code, is_replay(second)) == (202, True)
    assert second["Location"] == first["Location"]
    assert second["ETag"] == first["ETag"]
    assert second.json()["id"] == first.json()["id"]
    assert (Search.objects.count(), Hold.objects.count(), Entry.objects.count()) == (1, 1, 1)


def test_a_replay_has_the_present_state(api: APIClient) -> None:
    post(api)
    cancellation.cancel(Search.objects.get())
    replay = post(api, Prefer="wait=5")
    assert (replay.status_code, replay.json()["status"], replay["Preference-Applied"]) == (202, "canceled", "wait=5")


def test_without_a_key_two_searches_are_two(api: APIClient) -> None:
    for _ in range(2):
        response = api.post(SEARCHES, order(), format="json")
        assert "Idempotent-Replayed" not in response
    assert Search.objects.count() == 2
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("key", ["a", "~" * 255, "a b", 'a"b', '"quoted"', '"a\\"b\\\\"', "a,b"])
def test_keys_that_are_taken(api: APIClient, key: str) -> None:
    assert post(api, key=key).status_code == 202
    assert is_replay(post(api, key=key))


def test_a_quoted_key_is_its_content(api: APIClient) -> None:
    post(api, key="a\\b")
    assert is_replay(post(api, key='"a\\\\b"'))


@pytest.mark.parametrize(
    "key", ["", "a" * 256, f'"{"a" * 256}"', '""', '"a', '"a"b"', '"a\\b"', "\u00e4", "a\tb", "a\x7f"]
)
def test_keys_that_are_not(api: APIClient, key: str) -> None:
    response = post(api, key=key)
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert (error["field"], error["code"]) == ("Idempotency-Key", "invalid")
    assert "1 to 255 printable ASCII characters" in error["detail"]
    assert not Search.objects.exists()


# ------------------------------------------------------------------ what is compared

LIMITED = lookup(limit=20, parameters={"followers_count": {"min": 13000, "max": 500000}, "engagement_rate": {"min": 1}})
ORDER = order(lookups=[LIMITED], metadata={"a": "1", "b": "2"})


SAME = (
    json.dumps(ORDER, indent=3),
    json.dumps(dict(reversed(ORDER.items()))),
    json.dumps(ORDER).replace('"min": 1}', '"min": 1.0}'),
    json.dumps(ORDER).replace('"min": 1}', '"min": 1e0}'),
    json.dumps(ORDER).replace('"limit": 20, ', ""),
    json.dumps({**ORDER, "priority": 0, "expires_in": 86400, "max_credits": {}}),
    json.dumps(ORDER).replace('"a"', '"\\u0061"'),
)


def test_equal_values_are_one_request(api: APIClient) -> None:
    post(api, body=ORDER)
    for same in SAME:
        response = api.post(SEARCHES, same, content_type="application/json", headers={"Idempotency-Key": KEY})
        assert is_replay(response), same


def test_a_file_and_its_base64_text_are_one_picture(api: APIClient) -> None:
    post(api, body=order(metadata={}))
    api.credentials(HTTP_IDEMPOTENCY_KEY=KEY)
    assert is_replay(create_form(api, {"lookups": [lookup()]}))
    assert refusal(create_form(api, {"lookups": [lookup()]}, picture=samples.png())) == (422, "idempotency_key_reused")


OTHERS: tuple[dict[str, Any], ...] = (
    {"priority": 1},
    {"lookups": [lookup(limit=21)]},
    {"lookups": [lookup(), lookup()]},
    {"lookups": [lookup(parameters={"gender": "FEMALE"})]},
    {"crop": {"x": 0, "y": 0, "width": 0.5, "height": 0.5}},
    {"max_age": 0},
    {"metadata": {"a": "b"}},
    {"max_credits": {"modash": "5"}},
    {"image": {"base64": b64encode(samples.png()).decode()}},
    {"image": {"url": "https://example.com/mug.jpg"}},
)


def test_another_body_is_another_request(api: APIClient) -> None:
    post(api)
    for changes in OTHERS:
        response = post(api, body=order(**changes))
        assert refusal(response) == (422, "idempotency_key_reused"), changes
        assert "in the last 24 hours" in response.json()["detail"]
    assert Search.objects.count() == 1


def test_a_stored_picture_is_another_than_its_bytes(api: APIClient) -> None:
    image = post(api).json()["image"]["id"]
    assert refusal(post(api, body=order(image={"id": image}))) == (422, "idempotency_key_reused")


def test_another_route_is_another_request(api: APIClient) -> None:
    image = order()["image"]
    post(api, "/v1/images", {"image": image})
    assert refusal(post(api)) == (422, "idempotency_key_reused")
    search = post(api, key="another").json()["id"]
    post(api, f"/v1/searches/{search}/cancel", {}, key="cancel")
    other = post(api, key="third").json()["id"]
    assert refusal(post(api, f"/v1/searches/{other}/cancel", {}, key="cancel")) == (422, "idempotency_key_reused")


def test_a_wrong_body_is_400_whatever_was_done_with_its_key(api: APIClient) -> None:
    post(api)
    assert post(api, body=order(priority=11)).status_code == 400


# ------------------------------------------------------------------ what is remembered


def test_a_refused_request_leaves_its_key_free(api: APIClient, alice: Tenant) -> None:
    assert post(api, body=order(lookups=[lookup(credential="none")])).status_code == 400
    cap = TenantCap.objects.create(tenant=alice, provider="modash", amount=0)
    assert refusal(post(api)) == (402, "tenant_cap_reached")
    cap.delete()
    Tenant.objects.update(most_waiting_lookups=0)
    assert refusal(post(api)) == (429, "too_many_waiting_lookups")
    Tenant.objects.update(most_waiting_lookups=None)
    assert not IdempotencyKey.objects.exists()
    assert not is_replay(post(api))


def test_503_is_not_remembered(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: Any, **kwargs: Any) -> Any:
        raise pictures.Busy("Too many pictures are being read.")

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "received", busy)
        assert post(api).status_code == 503
    assert not is_replay(post(api))


def test_a_replay_asks_nothing_of_caps_queues_and_pictures(
    api: APIClient, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = post(api).json()["id"]
    TenantCap.objects.create(tenant=alice, provider="modash", amount=0)
    Tenant.objects.update(most_waiting_lookups=0)
    monkeypatch.setattr(pictures, "received", None)
    assert post(api).json()["id"] == first


def test_a_search_that_was_erased_is_not_made_again(api: APIClient) -> None:
    first = post(api)
    assert api.delete(first["Location"]).status_code == 204
    replay = post(api)
    assert refusal(replay) == (404, "not_found")
    assert "was erased; to search again, send another key" in replay.json()["detail"]
    assert Search.objects.filter(erased_at=None).count() == 0


def test_no_row_keeps_a_key_or_what_a_search_said(api: APIClient) -> None:
    post(api, body=order(metadata={"campaign": "spring"}))
    row = IdempotencyKey.objects.get()
    assert row.made == Search.objects.get().pk
    assert row.sealed is None
    assert KEY not in str(vars(row))


def test_it_is_kept_for_a_day_and_then_forgotten(api: APIClient, settings: Settings) -> None:
    post(api)
    IdempotencyKey.objects.update(expires_at=Now() + timedelta(seconds=60))
    idempotency_keys.sweep()
    assert is_replay(post(api))
    IdempotencyKey.objects.update(expires_at=Now())
    assert not is_replay(post(api))
    row = IdempotencyKey.objects.get()
    assert timedelta(hours=23, minutes=59) < row.expires_at - row.created_at <= timedelta(hours=24, minutes=2)
    IdempotencyKey.objects.update(expires_at=Now())
    idempotency_keys.sweep()
    assert not IdempotencyKey.objects.exists()
    alice = Tenant.objects.get()
    Search.objects.all().delete()
    post(api)
    assert alice.idempotency_keys.count() == 1


def test_while_redis_is_down_a_search_is_made_once_too(api: APIClient, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert not is_replay(post(api))
    assert is_replay(post(api))
    assert Search.objects.count() == 1


# ------------------------------------------------------------------ whose key it is


def test_modes_and_tenants_have_keys_of_their_own(api: APIClient, sandbox: APIClient, stranger: APIClient) -> None:
    credentials.store(Tenant.objects.get(name="Charlie"), "modash", "charlies-modash-key")
    ids = {post(client).json()["id"] for client in (api, sandbox, stranger)}
    assert len(ids) == 3
    assert all(is_replay(post(client)) for client in (api, sandbox, stranger))


def test_two_api_keys_of_a_tenant_share_it(api: APIClient, alice: Tenant, client_of: ClientOf) -> None:
    first = post(api)
    second = post(client_of(alice))
    assert is_replay(second)
    assert second.json()["id"] == first.json()["id"]


def test_who_may_not_ask_learns_nothing(api: APIClient, alice: Tenant) -> None:
    post(api)
    assert post(APIClient()).status_code == 401
    Tenant.objects.update(suspended_at=Now())
    assert post(api).status_code == 403


# ------------------------------------------------------------------ claims


def left_in_work() -> None:
    """Sets the key back to its claim, as it is until the search is committed."""
    IdempotencyKey.objects.update(status=None, made=None, leased_until=Now() + timedelta(seconds=60))


def test_while_the_first_is_in_work_the_second_is_told_to_wait(api: APIClient) -> None:
    post(api)
    left_in_work()
    response = post(api)
    assert refusal(response) == (409, "idempotency_key_in_use")
    assert response["Retry-After"] == "1"
    assert refusal(post(api, body=order(priority=1))) == (422, "idempotency_key_reused")
    assert Search.objects.count() == 1


def test_a_claim_whose_process_died_is_taken_over_after_its_lease(api: APIClient) -> None:
    post(api)
    left_in_work()
    IdempotencyKey.objects.update(leased_until=Now())
    changed = order(priority=1)
    assert not is_replay(post(api, body=changed))
    assert is_replay(post(api, body=changed))


def test_a_request_past_its_lease_fails_and_leaves_nothing(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another request takes the key over while the picture of the first one is being read."""
    received = pictures.received

    def slowly(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        IdempotencyKey.objects.update(leased_until=Now())
        assert post(api).status_code == 202
        return received(*args, **kwargs)

    monkeypatch.setattr(pictures, "received", slowly)
    assert refusal(post(api)) == (409, "idempotency_key_in_use")
    assert (Search.objects.count(), Hold.objects.count()) == (1, 1)
    assert is_replay(post(api))


def test_the_cost_of_a_key_is_two_short_queries(api: APIClient) -> None:
    api.post(SEARCHES, order(), format="json")
    with CaptureQueriesContext(connection) as without:
        api.post(SEARCHES, order(), format="json")
    with CaptureQueriesContext(connection) as first:
        post(api)
    assert len(first) == len(without) + 2
    assert not [query for query in without if "idempotency" in query["sql"]]
