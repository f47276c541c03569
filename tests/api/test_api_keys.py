"""API keys over the API: made, read, changed, rotated and revoked, by keys that give no more than they have."""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone
from rest_framework.test import APIClient
from uuid_utils.compat import uuid7

from accounts import keys
from accounts.models import ApiKey, Mode, Scope, Tenant
from billing import caps, ledger
from billing.api_keys import views
from billing.caps import LimitReached, Spender
from billing.models import KeyCap, ThresholdAlert
from tests.api.examples import create, made
from tests.api.test_openapi import described
from tests.billing.test_ledger import demand, in_one
from tests.conftest import ClientOf
from tests.racing import at_once

PATH = "/v1/api-keys"
MANAGER = ["keys:manage", "searches:read"]


def client(secret: str) -> APIClient:
    return APIClient(headers={"Authorization": f"Bearer {secret}"})


class Asking(APIClient):
    """A client with a key of its own. `path`: that of the key."""

    def __init__(self, key: ApiKey, secret: str) -> None:
        super().__init__(headers={"Authorization": f"Bearer {secret}"})
        self.key = key
        self.path = f"{PATH}/{key.pk}"


def key_with(tenant: Tenant, mode: Mode = Mode.LIVE, *, caps: dict[str, str] | None = None, **rights: Any) -> Asking:
    """Returns a client with a new key of these rights."""
    key, secret = keys.issue(tenant, mode, **rights)
    for provider, amount in (caps or {}).items():
        KeyCap.objects.create(api_key=key, provider=provider, amount=amount)
    return Asking(key, secret)


def new(api: APIClient, **asked: Any) -> dict[str, Any]:
    response = api.post(PATH, asked, format="json")
    assert response.status_code == 201, response.content
    answer: dict[str, Any] = response.json()
    return answer


def wrong_fields(response: Any) -> dict[str, str]:
    assert response.status_code == 400, response.content
    return {error["field"]: error["code"] for error in response.json()["errors"]}


def test_a_new_key_shows_its_secret_once(api: APIClient) -> None:
    expiry = "2030-01-31T00:00:00Z"
    asked = {"label": "shop", "scopes": ["searches:read"], "expires_at": expiry, "allowed_networks": ["127.0.0.1"]}
    response = api.post(PATH, asked | {"caps": {"modash": "12.50"}}, format="json")
    answer = response.json()
    assert response["Location"] == f"{PATH}/{answer['id']}"
    secret = answer.pop("secret")
    assert secret.startswith(answer["prefix"])
    wanted = asked | {
        "allowed_networks": ["127.0.0.1/32"],
        "caps": {"modash": "12.5"},
        "state": "valid",
        "mode": "live",
    }
    assert {name: answer[name] for name in wanted} == wanted
    assert api.get(response["Location"]).json() == answer
    assert api.get(PATH).json()["data"][0] == answer
    assert client(secret).get("/v1/searches").status_code == 200
    assert client(secret).get("/v1/credits").json()["code"] == "scope_missing"


def test_what_is_left_out_is_as_of_the_key_that_asks(alice: Tenant) -> None:
    expiry = timezone.now() + timedelta(days=1)
    asking = key_with(
        alice, scopes=MANAGER, expires_at=expiry, allowed_networks=["127.0.0.0/8"], caps={"modash": "5", "keyapi": "1"}
    )
    made, own = new(asking), asking.get(asking.path).json()
    for name in ("mode", "scopes", "expires_at", "allowed_networks", "caps"):
        assert made[name] == own[name]


def test_a_key_gives_no_more_than_it_has(alice: Tenant) -> None:
    expiry = timezone.now() + timedelta(days=1)
    asking = key_with(
        alice, scopes=MANAGER, expires_at=expiry, allowed_networks=["127.0.0.0/8"], caps={"modash": "5", "keyapi": "1"}
    )
    more: dict[str, Any] = {
        "mode": "test",
        "scopes": [*MANAGER, "billing:read"],
        "expires_at": (expiry + timedelta(seconds=1)).isoformat(),
        "allowed_networks": ["0.0.0.0/0"],
        "caps": {"modash": "5.000001", "keyapi": "1"},
    }
    for name, value in more.items():
        assert wrong_fields(asking.post(PATH, {name: value}, format="json")) == {name: "more_than_yours"}
    fields = more | {"mode": "live", "label": 5}
    wanted = dict.fromkeys(("scopes", "expires_at", "allowed_networks", "caps"), "more_than_yours") | {
        "label": "invalid"
    }
    assert wrong_fields(asking.post(PATH, fields, format="json")) == wanted
    for name, value in {"expires_at": None, "allowed_networks": [], "caps": {"modash": "5"}}.items():
        assert wrong_fields(asking.post(PATH, {name: value}, format="json")) == {name: "more_than_yours"}
    assert ApiKey.objects.count() == 1
    new(asking, scopes=["searches:read"], allowed_networks=["127.0.0.1"], caps={"modash": "4", "keyapi": "0"})


def test_no_key_widens_itself(alice: Tenant) -> None:
    asking = key_with(alice, scopes=MANAGER, allowed_networks=["127.0.0.0/8"], caps={"modash": "5"})
    wider: list[dict[str, Any]] = [{"scopes": list(Scope.values)}, {"allowed_networks": []}, {"caps": {}}]
    for more in (*wider, {"caps": {"modash": "6"}}):
        assert set(wrong_fields(asking.patch(asking.path, more, format="json")).values()) == {"more_than_yours"}
    less = {"label": "less", "caps": {"modash": "4", "memories": "1"}, "allowed_networks": ["127.0.0.1"]}
    answer = asking.patch(asking.path, less, format="json").json()
    assert answer["caps"] == less["caps"]
    assert asking.patch(asking.path, {"caps": {"modash": "5", "memories": "1"}}, format="json").status_code == 400
    assert asking.patch(asking.path, {"scopes": ["searches:read"]}, format="json").status_code == 200
    assert asking.get(asking.path).json()["code"] == "scope_missing"


STRONGER: list[dict[str, Any]] = [
    {"scopes": list(Scope.values)},
    {"scopes": MANAGER, "allowed_networks": []},
    {"scopes": MANAGER, "allowed_networks": ["126.0.0.0/7"]},
    {"scopes": MANAGER, "allowed_networks": ["127.0.0.1/32"], "expires_at": None},
    {"scopes": MANAGER, "allowed_networks": ["127.0.0.1/32"], "caps": {"modash": "6"}},
]


@pytest.mark.parametrize("rights", STRONGER)
def test_a_key_that_has_more_is_seen_and_not_touched(alice: Tenant, rights: dict[str, Any]) -> None:
    expiry = timezone.now() + timedelta(days=1)
    own: dict[str, Any] = {"scopes": MANAGER, "allowed_networks": ["127.0.0.0/8"], "expires_at": expiry}
    asking, other = key_with(alice, **own, caps={"modash": "5"}), key_with(alice, **own | rights)
    path = other.path
    before = asking.get(path).json()
    acts = (
        partial(asking.patch, path, {"label": "mine"}),
        partial(asking.post, f"{path}/rotate"),
        partial(asking.delete, path),
    )
    for act in acts:
        response = act(format="json")
        assert (response.status_code, response.json()["code"]) == (403, "stronger_key")
    assert asking.get(path).json() == before


def test_a_live_key_with_all_scopes_has_both_modes_and_any_other_its_own(alice: Tenant) -> None:
    everything, some, test = key_with(alice), key_with(alice, scopes=MANAGER), key_with(alice, Mode.TEST)
    assert {new(everything, mode=mode)["mode"] for mode in Mode.values} == {"live", "test"}
    assert {key["mode"] for key in everything.get(PATH).json()["data"]} == {"live", "test"}
    for asking, mode, other in ((some, "live", "test"), (test, "test", "live")):
        assert {key["mode"] for key in asking.get(PATH).json()["data"]} == {mode}
        assert new(asking)["mode"] == mode
        assert wrong_fields(asking.post(PATH, {"mode": other}, format="json")) == {"mode": "more_than_yours"}
    assert test.get(some.path).status_code == 404
    assert wrong_fields(test.post(PATH, {"caps": {"modash": "1"}}, format="json")) == {"caps": "not_of_a_test_key"}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"scopes": ["searches"]}, "scopes[0]"),
    ({"scopes": ["keys:manage", "keys:manage"]}, "scopes"),
    ({"scopes": "keys:manage"}, "scopes"),
    ({"expires_at": "2026-01-01T00:00:00Z"}, "expires_at"),
    ({"expires_at": "tomorrow"}, "expires_at"),
    ({"allowed_networks": ["10.0.0.1/8"]}, "allowed_networks[0]"),
    ({"allowed_networks": ["127.0.0.1"] * 51}, "allowed_networks"),
    ({"caps": {"google": "1"}}, "caps.google"),
    ({"caps": {"modash": 1}}, "caps.modash"),
    ({"caps": {"modash": "-1"}}, "caps.modash"),
    ({"label": "x" * 101}, "label"),
    ({"mode": "dry"}, "mode"),
    ({"secret": "mine"}, "secret"),
]


@pytest.mark.parametrize(("body", "field"), WRONG)
def test_each_wrong_field_is_named(api: APIClient, body: dict[str, Any], field: str) -> None:
    assert set(wrong_fields(api.post(PATH, body, format="json"))) == {field}


def test_a_rotation_keeps_the_key_and_lets_its_secrets_overlap(api: APIClient) -> None:
    first = new(api, label="shop", caps={"modash": "7"}, scopes=MANAGER)
    path = f"{PATH}/{first['id']}"
    second = api.post(f"{path}/rotate").json()
    assert {name: second[name] for name in ("id", "label", "caps", "scopes")} == {
        name: first[name] for name in ("id", "label", "caps", "scopes")
    }
    assert second["previous_secret_until"] > timezone.now().isoformat()
    assert "secret" not in api.get(path).json()
    for secret in (first["secret"], second["secret"]):
        assert client(secret).get("/v1/searches").status_code == 200
    # The answer may be lost. The key rotates itself again, with the secret that it still has.
    third = client(first["secret"]).post(f"{path}/rotate", {"overlap_seconds": 60}, format="json").json()
    assert client(first["secret"]).get("/v1/searches").status_code == 200
    fourth = client(third["secret"]).post(f"{path}/rotate", {"overlap_seconds": 0}, format="json").json()
    assert fourth["previous_secret_until"] is None
    for old in (first, second, third):
        assert client(old["secret"]).get("/v1/searches").json()["code"] == "api_key_rotated"
    assert client(fourth["secret"]).get("/v1/searches").status_code == 200


@pytest.mark.parametrize("seconds", [-1, 2_592_001, "60", None, 1.5])
def test_an_overlap_is_bounded(api: APIClient, seconds: Any) -> None:
    path = f"{PATH}/{new(api)['id']}/rotate"
    assert set(wrong_fields(api.post(path, {"overlap_seconds": seconds}, format="json"))) == {"overlap_seconds"}


def test_no_rotation_outlives_the_expiry(api: APIClient) -> None:
    first = new(api, expires_at=(timezone.now() + timedelta(hours=1)).isoformat())
    second = api.post(f"{PATH}/{first['id']}/rotate").json()
    assert second["previous_secret_until"] == second["expires_at"]
    ApiKey.objects.filter(pk=first["id"]).update(expires_at=timezone.now())
    for secret in (first["secret"], second["secret"]):
        assert client(secret).get(PATH).json()["code"] == "api_key_expired"
    response = api.post(f"{PATH}/{first['id']}/rotate")
    assert (response.status_code, response.json()["code"]) == (409, "api_key_ended")
    later = {"expires_at": (timezone.now() + timedelta(hours=1)).isoformat()}
    assert api.patch(f"{PATH}/{first['id']}", later, format="json").json()["state"] == "valid"
    assert client(first["secret"]).get(PATH).status_code == 200


def test_a_revocation_is_in_force_at_the_next_request(api: APIClient) -> None:
    other = new(api)
    path = f"{PATH}/{other['id']}"
    rotated = api.post(f"{path}/rotate").json()
    for _ in range(2):
        assert api.delete(path).status_code == 204
    for secret in (other["secret"], rotated["secret"]):
        assert client(secret).get(PATH).json()["code"] == "api_key_revoked"
    assert api.get(path).json()["state"] == "revoked"
    for response in (api.post(f"{path}/rotate"), api.patch(path, {"label": "x"}, format="json")):
        assert (response.status_code, response.json()["code"]) == (409, "api_key_ended")


def test_a_cap_holds_and_its_shares_are_announced(api: APIClient) -> None:
    key = new(api)
    made(client(key["secret"]))
    path = f"{PATH}/{key['id']}"
    assert api.patch(path, {"caps": {"modash": "0.5"}}, format="json").json()["caps"] == {"modash": "0.5"}
    response = create(client(key["secret"]))
    assert (response.status_code, response.json()["code"]) == (402, "key_cap_reached")
    assert create(api).status_code == 202
    assert api.patch(path, {"caps": {}}, format="json").json()["caps"] == {}
    assert create(client(key["secret"])).status_code == 202
    assert not ThresholdAlert.objects.exists()


def test_there_are_no_more_than_the_tenant_may_have(api: APIClient, alice: Tenant) -> None:
    Tenant.objects.filter(pk=alice.pk).update(most_api_keys=2)
    other = new(api)
    response = api.post(PATH, {}, format="json")
    assert (response.status_code, response.json()["code"]) == (409, "too_many_api_keys")
    assert "2 API keys are valid" in response.json()["detail"]
    ApiKey.objects.filter(pk=other["id"]).update(expires_at=timezone.now())
    new(api)
    revived = api.patch(f"{PATH}/{other['id']}", {"expires_at": None}, format="json")
    assert (revived.status_code, revived.json()["code"]) == (409, "too_many_api_keys")


def test_a_line_of_keys_that_are_made_one_with_the_other_is_bounded(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MOST_ANCESTORS", 2)
    child = new(api)
    grandchild = new(client(child["secret"]))
    response = client(grandchild["secret"]).post(PATH, {}, format="json")
    assert (response.status_code, response.json()["code"]) == (409, "too_many_api_keys")
    assert "comes from 2 others" in response.json()["detail"]
    new(client(child["secret"]))


@pytest.mark.django_db(transaction=True)
def test_of_fifty_at_once_as_many_are_made_as_there_is_room_for(api: APIClient, alice: Tenant) -> None:
    Tenant.objects.filter(pk=alice.pk).update(most_api_keys=4, requests_per_second=100)
    answers = at_once([partial(api.post, PATH, {"label": str(number)}, format="json") for number in range(50)])
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 47
    assert ApiKey.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_being_revoked_leaves_no_key_behind(alice: Tenant, client_of: ClientOf) -> None:
    for _ in range(5):
        asking = key_with(alice)
        created, _ = at_once(
            [partial(asking.post, PATH, {"label": "left"}, format="json"), partial(keys.revoke, asking.key)]
        )
        asking.key.refresh_from_db()
        if created.status_code == 201:
            assert asking.key.revoked_at is not None
            assert ApiKey.objects.get(label="left").created_at <= asking.key.revoked_at
            ApiKey.objects.filter(label="left").delete()
        else:
            assert created.json()["code"] == "api_key_revoked"


def test_no_secret_is_kept_or_logged(api: APIClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        key = new(api)
        rotated = api.post(f"{PATH}/{key['id']}/rotate").json()
        client(key["secret"]).get("/v1/credits/nothing")
    for secret in (key["secret"], rotated["secret"]):
        assert secret[15:] not in caplog.text
        assert secret[15:] not in api.get(PATH).content.decode()
        for row in (*ApiKey.objects.values(), *ApiKey.objects.values("former_secrets__digest")):
            assert not any(secret[15:] in str(value) for value in row.values())


def test_what_is_answered_is_as_described(api: APIClient, alice: Tenant) -> None:
    created = api.post(PATH, {"caps": {"modash": "1"}, "expires_at": "2030-01-01T00:00:00Z"}, format="json")
    described(PATH, "post", created)
    described(PATH, "get", api.get(PATH))
    one, path = PATH + "/{id}", created["Location"]
    for method in ("patch", "delete"):
        described(one, method, getattr(key_with(alice, scopes=MANAGER), method)(path, {"label": "x"}, format="json"))
    described(one, "get", api.get(path))
    described(one, "patch", api.patch(path, {"label": "x"}, format="json"))
    described(one + "/rotate", "post", api.post(f"{path}/rotate"))
    described(one, "delete", api.delete(path))
    described(one + "/rotate", "post", api.post(f"{path}/rotate"))
    described(PATH, "get", key_with(alice, scopes=[]).get(PATH))


def test_keys_that_come_from_a_capped_key_count_under_its_cap(alice: Tenant) -> None:
    asking = key_with(alice, scopes=MANAGER, caps={"modash": "10"})
    child = new(asking, caps={"modash": "6"})
    grandchild = new(client(child["secret"]))
    assert [key["created_by"] for key in (child, grandchild)] == [str(asking.key.pk), child["id"]]
    spend(alice, child["id"], 4)
    spend(alice, grandchild["id"], 2)
    assert caps_of(grandchild["id"]) == [(6, 0), (6, 4), (10, 4)]
    assert refused(alice, grandchild["id"]) == refused(alice, child["id"]) == 6
    spend(alice, asking.key.pk, 4)
    assert refused(alice, asking.key.pk) == 10


def test_a_charge_announces_the_shares_of_every_cap_that_it_counts_under(alice: Tenant) -> None:
    asking = key_with(alice, scopes=MANAGER, caps={"modash": "10"})
    child = new(asking, caps={"modash": "9"})
    spend(alice, asking.key.pk, 2)
    spend(alice, child["id"], 3)
    reached = ThresholdAlert.objects.values_list("spender", "share", "used")
    assert [(str(spender), share, used) for spender, share, used in reached] == [(str(asking.key.pk), 50, Decimal(5))]


def test_a_key_with_caps_touches_no_key_that_does_not_count_under_them(alice: Tenant) -> None:
    asking, other = (key_with(alice, scopes=MANAGER, caps={"modash": "5"}) for _ in range(2))
    child = new(asking, scopes=MANAGER)
    for api in (asking, client(child["secret"])):
        for response in (api.post(f"{other.path}/rotate"), api.delete(other.path)):
            assert (response.status_code, response.json()["code"]) == (403, "stronger_key")
    raised = client(child["secret"]).patch(asking.path, {"caps": {"modash": "6"}}, format="json")
    assert raised.json()["code"] == "stronger_key"
    assert asking.delete(f"{PATH}/{child['id']}").status_code == 204


def spend(tenant: Tenant, key_id: Any, amount: int) -> None:
    """Holds and charges credits for a key."""
    reference = f"lookup:{uuid7()}"
    in_one(ledger.hold, [demand(tenant, amount, reference)], Spender(api_key_id=UUID(str(key_id))))
    in_one(ledger.charge, reference, Decimal(amount), key=reference)


def caps_of(key_id: str) -> list[tuple[int, int]]:
    """Returns the size of each cap that a key counts under, and what it has left."""
    key = ApiKey.objects.get(pk=key_id)
    limits = caps.limits(key.tenant_id, {"modash": Decimal(0)}, Spender(api_key_id=key.pk))["modash"]
    return sorted((int(limit.size), int(limit.left)) for limit in limits if limit.name == "key_cap")


def refused(tenant: Tenant, key_id: Any) -> int:
    """Returns the size of the cap that refuses one credit more."""
    with pytest.raises(LimitReached) as caught:
        spend(tenant, key_id, 1)
    return int(caught.value.limit.size)
