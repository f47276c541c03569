"""The pages of reconciliations, and the action that makes one on the page of a credential."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Act
from billing.models import Reading, Reconciliation
from providers.keyring import credentials
from providers.models import Credential
from tests.admin.conftest import SECRET, World, reconciled
from tests.admin.test_credentials import modash
from tests.admin.test_pages import page_of
from tests.providers.conftest import Provider, provider

__all__ = ["modash", "provider"]

LIST = "/admin/billing/reconciliation/"


def press(desk: Client, credential: Credential) -> str:
    path = reverse("admin:providers_credential_reconcile", args=[credential.pk])
    assert desk.get(path).status_code == 200
    assert desk.post(path, {"_form_submitted": "on"}).headers["HX-Redirect"] == page_of(credential)
    return desk.get(page_of(credential)).content.decode()


def test_the_action_compares_and_shows_what_was_found(modash: Provider, desk: Client, world: World) -> None:
    assert "812.35 credits are left" in press(desk, world.credential)
    page = press(desk, world.credential)
    assert "counted what the calls with this key cost" in page
    assert "matches" in page
    assert SECRET not in page
    history = Act.objects.filter(object_id=str(world.credential.pk)).order_by("pk")
    assert [act.detail for act in history] == ["Read, and compared with nothing.", "Reconciled: matches."]


def test_the_action_says_why_the_provider_cannot_be_asked(modash: Provider, desk: Client, world: World) -> None:
    modash.answers(b"", status=503)
    page = press(desk, world.credential)
    assert Credential.objects.get().check_problem in page
    assert Reading.objects.count() == 2


def test_a_key_for_which_nobody_counts_has_no_such_action(desk: Client, world: World) -> None:
    other = credentials.store(world.tenant, "keyapi", "sk_live_1")
    path = reverse("admin:providers_credential_reconcile", args=[other.pk])
    assert path not in desk.get(page_of(other)).content.decode()
    assert desk.post(path, {"_form_submitted": "on"}).status_code == 403


def test_drift_that_nothing_explains_is_marked_and_found(desk: Client, world: World) -> None:
    marked = world.rows[Reconciliation]
    other = reconciled(world.credential, "matches")
    page = desk.get(LIST, {"state__exact": "unexplained"}).content.decode()
    assert page_of(marked) in page
    assert page_of(other) not in page
    assert "unexplained" in desk.get(page_of(world.credential)).content.decode()


def test_a_comparison_says_in_words_what_was_found(desk: Client, world: World) -> None:
    page = desk.get(page_of(world.rows[Reconciliation])).content.decode()
    assert "The provider counted 1.5 credits more than the calls with this key can have cost" in page


@pytest.mark.parametrize("term", ["Alice", "default"])
def test_comparisons_are_searched_by_tenant_and_label(desk: Client, world: World, term: str) -> None:
    row = world.rows[Reconciliation]
    assert page_of(row) in desk.get(LIST, {"q": term}).content.decode()
    assert page_of(row) in desk.get(LIST, {"q": str(world.credential.pk)}).content.decode()


def test_a_comparison_outlives_its_key(desk: Client, world: World) -> None:
    row = world.rows[Reconciliation]
    credentials.remove(world.credential)
    page = desk.get(page_of(row)).content.decode()
    assert "The provider counted 1.5 credits more" in page
    listed = desk.get(LIST, {"q": "Alice", "provider": "modash"}).content.decode()
    assert page_of(row) in listed
    assert Reading.objects.filter(credential=None).count() == 2


def test_a_key_with_comparisons_is_deleted_in_the_admin(desk: Client, world: World) -> None:
    path = reverse("admin:providers_credential_delete", args=[world.credential.pk])
    assert desk.post(path, {"post": "yes"}).status_code == 302
    assert Reconciliation.objects.get().credential is None
