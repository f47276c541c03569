"""`Idempotency-Key` on every POST there is: a route that is added later is covered on that day."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from django.urls import resolve
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import idempotency_keys, keys, vault
from accounts.models import ApiKey, Delivery, Endpoint, Event, IdempotencyKey, Mode, Tenant
from accounts.web import rate_limits
from accounts.web.exceptions import TooManyRequests
from accounts.web.tenant_view import TenantView
from accounts.webhooks import endpoints
from searches.models import Image, Search
from tests.api.examples import order
from tests.api.routes import BODIES as OF_ACTIONS
from tests.api.routes import NOBODYS, ROUTES, belongings, path_to
from tests.api.test_idempotency import is_replay, post, refusal
from tests.api.test_openapi import described, document, resolved
from tests.conftest import ClientOf
from tests.searches.repeating import failed

ENDPOINT = {"url": "https://example.com/other"}
CREDENTIAL = {"provider": "keyapi", "secret": "alices-keyapi-key", "label": "second"}
BODIES: dict[str, Any] = {
    **OF_ACTIONS,
    "/v1/searches": order(),
    "/v1/images": {"image": order()["image"]},
    "/v1/credentials": CREDENTIAL,
    "/v1/webhook-endpoints": ENDPOINT,
}
# A quote has no effects.
WITHOUT_EFFECTS = ["/v1/searches/quote"]
# A retry asks what failed.
RETRY = "/v1/searches/<id:id>/retry"
# The provider does not answer in these tests, so that its count is not told.
UNANSWERED = {"/v1/credentials/<id:id>/reconcile": 503}


def view_of(route: str) -> Any:
    path = route.replace("<id:id>", str(NOBODYS)).replace("<str:", "a").replace(">", "")
    return getattr(resolve(path).func, "view_class", None)


POSTS = [route for route in ROUTES if (view := view_of(route)) and hasattr(view, "post")]


def test_every_post_heeds_keys() -> None:
    assert all(issubclass(view_of(route), TenantView) for route in POSTS)
    assert [route for route in POSTS if not view_of(route).heeds_idempotency_keys] == WITHOUT_EFFECTS


@pytest.mark.parametrize("route", [route for route in POSTS if route not in WITHOUT_EFFECTS])
def test_every_post_that_is_sent_again_is_replayed(api: APIClient, route: str) -> None:
    path = path_to(route, belongings(api))
    if route == RETRY:
        failed()
    first = post(api, path, BODIES.get(route, {}))
    rows = rows_now()
    again = post(api, path, BODIES.get(route, {}))
    for response in (first, again):
        described(route.replace("<id:id>", "{id}"), "post", response)
    if route in UNANSWERED:
        assert (first.status_code, again.status_code) == (UNANSWERED[route], UNANSWERED[route])
        assert not IdempotencyKey.objects.exists()
        return
    assert 200 <= first.status_code < 300, first.content
    assert (again.status_code, is_replay(first), is_replay(again)) == (first.status_code, False, True)
    assert again.headers.get("Location") == first.headers.get("Location")
    assert without_times(again.json()) == without_times(first.json())
    assert rows_now() == rows
    assert refusal(post(api, path, {"other": 1})) in [(422, "idempotency_key_reused"), (400, "invalid_request")]


def rows_now() -> list[int]:
    counted = [model.objects.count() for model in (Search, Image, Endpoint, Event, Delivery)]
    return [*counted, len(versions())]


def versions() -> set[Any]:
    """Returns what a rotation or a redelivery changes."""
    secrets = {bytes(sealed) for sealed in Endpoint.objects.values_list("sealed", flat=True)}
    return secrets | set(Delivery.objects.values_list("state", "next_attempt_at"))


def without_times(shown: dict[str, Any]) -> dict[str, Any]:
    """Returns an answer without the estimates in it, which are made anew for each."""
    text = json.dumps(shown)
    whole: dict[str, Any] = json.loads(text)
    for each in whole.get("lookups", []):
        each.pop("estimated_start_at", None)
    return whole


def test_every_post_refuses_what_is_no_key(api: APIClient) -> None:
    hers = belongings(api)
    for route in POSTS:
        response = post(api, path_to(route, hers), BODIES.get(route, {}), key="\u00e4")
        assert "Idempotency-Key" in [error["field"] for error in response.json()["errors"]], route


@pytest.mark.parametrize("route", POSTS)
def test_every_post_is_described_with_its_key(route: str) -> None:
    operation = document()["paths"][route.replace("<id:id>", "{id}")]["post"]
    headers = {resolved(parameter)["name"] for parameter in operation.get("parameters", [])}
    told = [resolved(operation["responses"][status]) for status in ("409", "422") if status in operation["responses"]]
    codes = {code for response in told for code in response["content"]["application/problem+json"]["examples"]}
    done = next(response for status, response in operation["responses"].items() if status < "300")
    if route in WITHOUT_EFFECTS:
        assert "Idempotency-Key" not in headers
        assert "Idempotent-Replayed" not in done["headers"]
    else:
        assert "Idempotency-Key" in headers
        assert "Idempotent-Replayed" in done["headers"]
        assert {"idempotency_key_in_use", "idempotency_key_reused"} <= codes
        assert "404" in operation["responses"]


def test_no_other_method_heeds_them(api: APIClient) -> None:
    endpoint = post(api, "/v1/webhook-endpoints", ENDPOINT)
    for description in ("one", "two"):
        change = {"description": description}
        headers = {"Idempotency-Key": "a"}
        assert (
            api.patch(endpoint["Location"], change, format="json", headers=headers).json()["description"] == description
        )
    assert api.get(endpoint["Location"], headers={"Idempotency-Key": "\u00e4"}).status_code == 200
    assert api.delete(endpoint["Location"], headers={"Idempotency-Key": "a"}).status_code == 204


def test_a_quote_is_made_anew(api: APIClient) -> None:
    for _ in range(2):
        response = post(api, "/v1/searches/quote")
        assert (response.status_code, is_replay(response)) == (200, False)
    assert not IdempotencyKey.objects.exists()


def test_a_secret_is_shown_again_from_under_a_seal(api: APIClient) -> None:
    first = post(api, "/v1/webhook-endpoints", ENDPOINT).json()
    sealed = bytes(IdempotencyKey.objects.get().sealed or b"")
    assert first["secret"].encode() not in sealed
    endpoint = Endpoint.objects.get()
    assert endpoints.secrets_of(endpoint, at=timezone.now()) == [first["secret"]]
    endpoints.remove(endpoint)
    assert post(api, "/v1/webhook-endpoints", ENDPOINT).json() == first


def test_a_kept_answer_opens_in_its_own_row_alone(api: APIClient) -> None:
    post(api, "/v1/webhook-endpoints", ENDPOINT)
    IdempotencyKey.objects.update(id=UUID(int=1))
    with pytest.raises(vault.Unopenable):
        idempotency_keys.answer_of(IdempotencyKey.objects.get())
    response = post(api, "/v1/webhook-endpoints", ENDPOINT)
    assert refusal(response) == (404, "not_found")
    assert "can no longer be opened" in response.json()["detail"]


def test_the_secret_of_an_api_key_is_shown_to_the_key_that_asked_for_it(
    api: APIClient, alice: Tenant, client_of: ClientOf
) -> None:
    first = post(api, "/v1/api-keys", {"label": "shop"})
    assert post(api, "/v1/api-keys", {"label": "shop"}).json() == first.json()
    assert refusal(post(client_of(alice), "/v1/api-keys", {"label": "shop"})) == (422, "idempotency_key_reused")
    assert ApiKey.objects.filter(label="shop").count() == 1


def test_a_key_that_may_do_less_by_now_is_told_no_secret_again(alice: Tenant) -> None:
    asking, secret = keys.issue(alice, Mode.LIVE)
    api = APIClient(headers={"Authorization": f"Bearer {secret}"})
    made = post(api, "/v1/api-keys", {"label": "shop"}, key="make").json()
    rotation = f"/v1/api-keys/{made['id']}/rotate"
    rotated = post(api, rotation, {}, key="rotate").json()
    ApiKey.objects.filter(pk=asking.pk).update(scopes=["keys:manage"])
    for path, body, key in (("/v1/api-keys", {"label": "shop"}, "make"), (rotation, {}, "rotate")):
        assert refusal(post(api, path, body, key=key)) == (403, "stronger_key")
    ApiKey.objects.filter(pk=made["id"]).update(scopes=["keys:manage"])
    assert post(api, rotation, {}, key="rotate").json() == rotated


def test_a_rotation_that_is_sent_again_rotates_once(api: APIClient) -> None:
    path = f"/v1/webhook-endpoints/{post(api, '/v1/webhook-endpoints', ENDPOINT).json()['id']}/rotate-secret"
    first = post(api, path, {}, key="rotate").json()
    assert post(api, path, {}, key="rotate").json() == first
    assert endpoints.secrets_of(Endpoint.objects.get(), at=timezone.now())[0] == first["secret"]


def test_an_effect_and_its_key_are_one_transaction(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*args: Any, **kwargs: Any) -> None:
        raise idempotency_keys.ClaimLost

    with monkeypatch.context() as patch:
        patch.setattr(idempotency_keys, "complete", lost)
        response = post(api, "/v1/webhook-endpoints", ENDPOINT)
        assert refusal(response) == (409, "idempotency_key_in_use")
        for path, body in (("/v1/images", {"image": order()["image"]}), ("/v1/credentials", CREDENTIAL)):
            assert refusal(post(api, path, body, key=path)) == (409, "idempotency_key_in_use")
    assert not Endpoint.objects.exists()
    assert not Image.objects.exists()
    assert api.get("/v1/credentials?provider=keyapi").json()["data"] == []


def test_a_limit_that_refused_a_request_is_not_remembered(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise TooManyRequests("Ask again in 9 s.", wait=9)

    made = post(api, "/v1/webhook-endpoints", ENDPOINT).json()
    path = f"/v1/webhook-endpoints/{made['id']}/test"
    with monkeypatch.context() as patch:
        patch.setattr(rate_limits, "test_event", refuse)
        assert post(api, path, {}, key="test").status_code == 429
    assert not is_replay(post(api, path, {}, key="test"))
