"""Tenants as operators set them up."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.admin.tenants import TenantForm
from accounts.models import Act, Tenant, User
from providers.models import Policy
from tests.admin.conftest import World
from tests.admin.test_pages import address, page_of

# The fields that a browser sends for the read-only table of keys.
NO_KEYS = {"api_keys-TOTAL_FORMS": "0", "api_keys-INITIAL_FORMS": "0"}


def test_a_tenant_is_made(desk: Client, db: None) -> None:
    desk.post(address(Tenant, "add"), {"name": "Dora", "weight": "3", "max_age": "60"})
    tenant = Tenant.objects.get()
    assert (tenant.name, tenant.weight, tenant.max_age, tenant.suspended_at) == ("Dora", 3, 60, None)


@pytest.mark.parametrize("weight", ["0", "1001", "-1", ""])
def test_a_weight_out_of_bounds_is_refused(desk: Client, db: None, weight: str) -> None:
    response = desk.post(address(Tenant, "add"), {"name": "Dora", "weight": weight, "max_age": "0"})
    assert response.context["adminform"].form.errors.keys() == {"weight"}


@pytest.mark.parametrize("max_age", ["-1", "2592001", ""])
def test_a_max_age_out_of_bounds_is_refused(desk: Client, db: None, max_age: str) -> None:
    response = desk.post(address(Tenant, "add"), {"name": "Dora", "weight": "1", "max_age": max_age})
    assert response.context["adminform"].form.errors.keys() == {"max_age"}


def press(desk: Client, action: str, tenant: Tenant, **form: str) -> None:
    desk.post(reverse(f"admin:accounts_tenant_{action}", args=[tenant.pk]), {"_form_submitted": "on", **form})
    tenant.refresh_from_db()


def test_a_suspension_asks_why_and_holds_until_it_is_lifted(desk: Client, alice: Tenant) -> None:
    press(desk, "suspend", alice)
    assert alice.suspended_at is None
    press(desk, "suspend", alice, reason="It pays no bills.")
    since = alice.suspended_at
    assert since is not None
    desk.post(page_of(alice), {"name": alice.name, "weight": "2", "max_age": "0", **NO_KEYS})
    press(desk, "suspend", alice, reason="again")
    assert (alice.weight, alice.suspended_at) == (2, since)
    press(desk, "lift", alice)
    assert alice.suspended_at is None
    kinds = [(act.kind, act.reason) for act in Act.objects.order_by("pk")]
    assert kinds == [("suspend", "It pays no bills."), ("change", ""), ("lift", "")]


def test_a_form_undoes_no_suspension_that_comes_meanwhile(
    desk: Client, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, since = TenantForm.clean, timezone.now()

    def suspend_meanwhile(form: TenantForm) -> Any:
        Tenant.objects.update(suspended_at=since)
        return clean(form)

    monkeypatch.setattr(TenantForm, "clean", suspend_meanwhile)
    desk.post(page_of(alice), {"name": alice.name, "weight": "2", "max_age": str(alice.max_age), **NO_KEYS})
    saved = Tenant.objects.get()
    assert (saved.weight, saved.suspended_at) == (2, since)


def test_a_tenants_page_leads_to_its_rows(desk: Client, world: World) -> None:
    html = desk.get(page_of(world.tenant)).content.decode()
    for list_of in ("searches/search", "providers/credential", "billing/account", "searches/image"):
        path = f"/admin/{list_of}/?tenant__id__exact={world.tenant.pk}"
        assert path in html
        assert desk.get(path).context["cl"].result_list


def test_a_tenants_page_leads_to_the_form_for_its_next_key(desk: Client, alice: Tenant) -> None:
    response = desk.get(reverse("admin:accounts_tenant_issue_key", args=[alice.pk]), follow=True)
    assert response.context["adminform"].form["tenant"].value() == str(alice.pk)


def test_limits_and_retention_are_shown_with_their_defaults_and_set(
    desk: Client, alice: Tenant, settings: Settings
) -> None:
    settings.TENANT_MOST_CREDENTIALS = 1234
    assert 'placeholder="1234"' in desk.get(page_of(alice)).content.decode()
    form = {"name": alice.name, "weight": "1", "max_age": "0", **NO_KEYS}
    desk.post(page_of(alice), form | {"most_credentials": "7", "result_retention_days": "0"})
    alice.refresh_from_db()
    assert (alice.limit("most_credentials"), alice.limit("result_retention_days")) == (7, 0)
    desk.post(page_of(alice), form | {"most_credentials": ""})
    alice.refresh_from_db()
    assert alice.limit("most_credentials") == 1234


@pytest.mark.parametrize("name", ["requests_per_second", "image_retention_days"])
def test_a_limit_out_of_bounds_is_refused(desk: Client, alice: Tenant, name: str) -> None:
    form = {"name": alice.name, "weight": "1", "max_age": "0", **NO_KEYS}
    response = desk.post(page_of(alice), form | {name: "-1"})
    assert response.context["adminform"].form.errors.keys() == {name}


def history(desk: Client, row: Model) -> str:
    return html.unescape(desk.get(page_of(row).replace("/change/", "/history/")).content.decode())


def test_the_history_says_from_what_to_what(desk: Client, alice: Tenant) -> None:
    form = {"name": alice.name, "weight": "1", "max_age": "0", **NO_KEYS}
    desk.post(page_of(alice), form | {"weight": "5", "name": "Alicia", "most_credentials": "7"})
    said = history(desk, alice)
    for change in ("from Alice to Alicia", "from 1 to 5", "from nothing to 7"):
        assert change in said


def test_the_history_has_no_secret(desk: Client, world: World, operator: User) -> None:
    desk.post(page_of(world.credential), {"secret": "another-secret-of-theirs"})
    said = history(desk, world.credential)
    assert "Secret" in said
    assert "another-secret" not in said
    assert " from " not in said[said.index("hanged ") : said.index("hanged ") + 60]


def test_the_history_names_what_a_person_sees(desk: Client, world: World) -> None:
    policy = world.rows[Policy]
    form = desk.get(page_of(policy)).context["adminform"].form
    values = {name: form[name].value() for name in form.fields} | {"scope": "account", "paused": "on"}
    desk.post(
        page_of(policy), {name: value for name, value in values.items() if value is not None and value is not False}
    )
    said = history(desk, policy).lower()
    assert "from no to yes" in said
    assert f"to {dict(Policy.Scope.choices)['account'].lower()}" in said
