"""One form makes a new tenant with all its parts, or nothing. Its secrets are shown once."""

from __future__ import annotations

import logging
import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.test import Client
from pytest_django import Settings

from accounts import keys
from accounts.models import Act, ApiKey, Endpoint, Tenant, User
from billing.models import Account, Entry, TenantCap
from providers.keyring import sealing
from providers.models import Credential
from tests.admin.conftest import SECRET
from tests.admin.test_pages import address, page_of

NEW = address(Tenant, "add")
ISSUED = re.compile(r"sl_(?:live|test)_\w{38}|whsec_[\w+/=]+")
FORM = {
    "name": "Dora",
    "weight": "3",
    "max_age": "60",
    "live_key": "on",
    "test_key": "on",
    "modash_key": SECRET,
    "modash_cap": "500",
    "modash_grant": "100.5",
    "memo": "First order",
    "keyapi_key": f"{SECRET}-too",
    "memories_cap": "0",
    "endpoint_url": "https://dora.example/hooks",
    "endpoint_mode": "live",
}
PARTS: tuple[type[Model], ...] = (Tenant, ApiKey, Credential, TenantCap, Account, Entry, Endpoint, Act)


@pytest.fixture(autouse=True)
def _no_provider(settings: Settings) -> None:
    settings.MODASH_BASE_URL = "http://127.0.0.1:1"


def refused(desk: Client, **wrong: str) -> dict[str, list[str]]:
    """Returns the errors of a refused form, of which nothing was stored."""
    response = desk.post(NEW, FORM | wrong)
    assert response.status_code == 200
    assert SECRET not in response.content.decode()
    assert {model.__name__: model._default_manager.count() for model in PARTS} == {each.__name__: 0 for each in PARTS}
    errors: dict[str, list[str]] = response.context["adminform"].form.errors
    return {name: list(errors[name]) for name in errors}


def test_a_tenant_is_made_with_all_its_parts(desk: Client, operator: User) -> None:
    response = desk.post(NEW, FORM)
    tenant = Tenant.objects.get()
    assert (tenant.name, tenant.weight, tenant.max_age) == ("Dora", 3, 60)
    live, test, signing = ISSUED.findall(response.content.decode())
    found = [keys.find(live), keys.find(test)]
    assert [(key.tenant, key.mode) for key in found if key] == [(tenant, "live"), (tenant, "test")]
    stored = {each.provider: sealing.secret_of(each).value for each in Credential.objects.filter(tenant=tenant)}
    assert stored == {"modash": SECRET, "keyapi": f"{SECRET}-too"}
    assert dict(TenantCap.objects.values_list("provider", "amount")) == {"modash": 500, "memories": 0}
    account = Account.objects.get(provider="modash")
    assert (account.kind, account.posted) == ("prepaid", Decimal("100.5"))
    entry = Entry.objects.get()
    assert (entry.memo, entry.person) == ("First order", "olive")
    endpoint = Endpoint.objects.get()
    assert (endpoint.url, endpoint.mode) == ("https://dora.example/hooks", "live")
    assert signing.startswith("whsec_")
    act = Act.objects.get()
    assert (act.kind, act.name, act.tenant, act.reason) == ("add", "olive", tenant, "First order")
    assert act.detail == (
        "With weight 3, a live API key, a test API key, a keyapi key, a cap of 0 memories credits a month, a modash key, "
        "a cap of 500 modash credits a month, 100.5 modash credits, an endpoint at https://dora.example/hooks."
    )


def test_its_secrets_are_shown_once_and_are_nowhere_else(
    desk: Client, operator: User, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = desk.post(NEW, FORM)
    shown = ISSUED.findall(response.content.decode())
    assert len(shown) == 3
    assert "no-store" in response.headers["Cache-Control"]
    tenant = Tenant.objects.get()
    pages = [page_of(tenant), page_of(tenant).replace("/change/", "/history/"), NEW, page_of(Endpoint.objects.get())]
    elsewhere = [desk.get(path).content.decode() for path in pages]
    elsewhere += [str(desk.cookies), caplog.text, str(Session.objects.get().get_decoded())]
    elsewhere += [str(act.__dict__) for act in Act.objects.all()]
    for secret in (*shown, SECRET):
        assert [where for where in elsewhere if secret in where] == []
    assert SECRET not in response.content.decode()


def test_a_tenant_can_begin_with_nothing(desk: Client, operator: User) -> None:
    response = desk.post(NEW, {"name": "Dora", "weight": "1", "max_age": "0"})
    assert response.status_code == 302
    assert Tenant.objects.get().name == "Dora"
    assert not ApiKey.objects.exists()
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("modash_key", f"{SECRET} with spaces", "letters, digits and signs, without spaces or line breaks."),
        ("keyapi_key", f"{SECRET}-é", "letters, digits and signs, without spaces or line breaks."),
        ("modash_cap", "-1", "greater than or equal to 0."),
        ("modash_grant", "0", "greater than or equal to 0.000001."),
        ("modash_grant", "2000000000", "must be at most 1,000,000,000 credits; split it if it is really more."),
        ("endpoint_url", "http://10.0.0.1/hooks", "public"),
        ("endpoint_url", "ftp://dora.example", "Must begin with https:// or http://."),
        ("endpoint_mode", "both", "both is not one of the available choices."),
        ("name", "", "This field is required."),
        ("weight", "0", "greater than or equal to 1."),
    ],
)
def test_what_is_wrong_names_its_field_and_nothing_stays_behind(
    desk: Client, operator: User, field: str, value: str, sentence: str
) -> None:
    errors = refused(desk, **{field: value})
    assert errors.keys() == {field}
    assert sentence in errors[field][0]


def test_a_limit_that_has_no_room_for_a_part_names_its_field(desk: Client, operator: User, settings: Settings) -> None:
    settings.TENANT_MOST_CREDENTIALS = 1
    assert refused(desk).keys() == {"modash_key"}
    assert refused(desk, most_credentials="2", most_api_keys="1").keys() == {"test_key"}
    assert refused(desk, most_credentials="2", most_endpoints="0").keys() == {"endpoint_url"}


def test_a_name_that_is_taken_makes_nothing(desk: Client, operator: User, alice: Tenant) -> None:
    response = desk.post(NEW, FORM | {"name": alice.name})
    assert response.context["adminform"].form.errors.keys() == {"name"}
    assert Tenant.objects.get() == alice
    assert not ApiKey.objects.exists()
    assert not Credential.objects.exists()


def test_an_operator_makes_only_the_parts_that_permissions_allow(client: Client, operator: User) -> None:
    tom = User.objects.create(username="tom", is_staff=True)
    tom.user_permissions.set(Permission.objects.filter(codename__in=["add_tenant", "view_tenant", "add_apikey"]))
    client.force_login(tom)
    names = set(client.get(NEW).context["adminform"].form.fields)
    assert {"live_key", "test_key"} <= names
    assert not names & {"modash_key", "modash_cap", "modash_grant", "memo", "endpoint_url", "suspended"}
    response = client.post(NEW, FORM)
    assert len(ISSUED.findall(response.content.decode())) == 2
    made: list[Any] = [*Credential.objects.all(), *TenantCap.objects.all(), *Account.objects.all()]
    assert made == list(Endpoint.objects.all()) == []
