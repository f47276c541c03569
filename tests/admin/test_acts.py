"""The log of acts: what was done on the operators' pages and by commands, by whom, why and from where. It is kept as it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import acts
from accounts.models import Act, ApiKey, Tenant, User
from billing.models import Account
from providers.models import Credential
from searches.models import Search
from tests.admin.conftest import PROVIDER, SECRET, World
from tests.admin.test_pages import address, page_of, queries

WHY = {"_form_submitted": "on", "reason": "Their shop is closed."}
LOG = "/admin/accounts/act/"
NO_KEYS = {"api_keys-TOTAL_FORMS": "0", "api_keys-INITIAL_FORMS": "0"}


def cancel(world: World) -> str:
    return reverse("admin:searches_search_cancel", args=[world.search.pk])


def last() -> Act:
    return Act.objects.latest("pk")


def listed(desk: Client, **query: Any) -> list[Act]:
    return list(desk.get(LOG, query).context["cl"].result_list)


def test_an_act_is_kept_with_who_what_why_and_from_where(desk: Client, world: World, settings: Settings) -> None:
    settings.PROXIES = []
    desk.post(cancel(world), WHY, REMOTE_ADDR="203.0.113.7")
    act = last()
    assert (act.name, str(act.operator), act.kind) == ("olive", "olive", "cancel")
    assert (act.object_type, act.object_id, act.tenant) == ("searches.search", str(world.search.pk), world.tenant)
    assert (act.reason, act.address, act.detail) == ("Their shop is closed.", "203.0.113.7", "Canceled.")
    html = desk.get(page_of(act)).content.decode()
    for shown in ("olive", "203.0.113.7", "Their shop is closed.", page_of(world.search)):
        assert shown in html


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_without_a_reason_nothing_is_done_that_cannot_be_undone(desk: Client, world: World, reason: str) -> None:
    before = Act.objects.count()
    for path in (cancel(world), reverse("admin:accounts_apikey_revoke", args=[world.key.pk])):
        answer = desk.post(path, WHY | {"reason": reason})
        assert answer.status_code == 200
        assert "HX-Redirect" not in answer.headers
    assert Search.objects.get().status == "queued"
    assert ApiKey.objects.get().revoked_at is None
    assert Act.objects.count() == before


def test_an_act_that_is_not_done_leaves_no_record(desk: Client, world: World) -> None:
    before = Act.objects.count()
    adjust = reverse("admin:billing_account_adjust", args=[world.account.pk])
    desk.post(
        adjust, {"_form_submitted": "on", "amount": "-9999", "memo": "why", "corrects": "1", "key": str(world.key.pk)}
    )
    assert Act.objects.count() == before


def test_a_form_keeps_its_fields_from_and_to(desk: Client, alice: Tenant) -> None:
    desk.post(page_of(alice), {"name": "Alice", "weight": "7", "max_age": "0", **NO_KEYS})
    assert last().changes == [["Weight", "1", "7"]]
    assert (last().kind, last().tenant, last().name) == ("change", alice, "olive")
    assert "Weight from 1 to 7" in desk.get(address(Tenant, "history", alice.pk)).content.decode()


def test_a_form_keeps_no_secret(desk: Client, world: World) -> None:
    desk.post(page_of(world.credential), {"secret": "another-secret-of-theirs"})
    assert last().changes == [["Secret"]]
    form = {"tenant": str(world.tenant.pk), "provider": PROVIDER, "label": "spare", "secret": f"{SECRET}-spare"}
    desk.post(address(Credential, "add"), form)
    assert last().kind == "add"
    kept = str(list(Act.objects.values()))
    assert "another-secret" not in kept
    assert SECRET not in kept


def test_rows_that_are_deleted_together_are_on_record_one_by_one(desk: Client, world: World) -> None:
    chosen = {"action": "delete_selected", "_selected_action": [str(world.credential.pk)], "post": "yes"}
    desk.post(address(Credential, "changelist"), chosen)
    assert not Credential.objects.exists()
    assert (last().kind, last().object_id, last().tenant) == ("delete", str(world.credential.pk), world.tenant)
    assert desk.get(page_of(last())).status_code == 200


def test_the_log_is_narrowed_by_operator_tenant_kind_and_time(desk: Client, world: World, operator: User) -> None:
    tom, bob = User.objects.create(username="tom"), Tenant.objects.create(name="Bob")
    mine = acts.record(acts.Actor(name="tom", operator=tom), "grant", bob)
    assert listed(desk, operator__id__exact=tom.pk) == [mine]
    assert listed(desk, tenant__id__exact=bob.pk) == [mine]
    assert listed(desk, kind="grant") == [mine]
    assert listed(desk, q=str(bob.pk)) == [mine]
    assert listed(desk, q=str(mine.pk)) == [mine]
    assert mine in listed(desk, made="hour")
    assert mine not in listed(desk, operator__id__exact=operator.pk)


def test_an_act_is_neither_edited_nor_deleted(desk: Client, world: World) -> None:
    act = world.rows[Act]
    assert desk.post(page_of(act), {"reason": "another"}).status_code == 403
    assert desk.post(address(Act, "delete", act.pk), {"post": "yes"}).status_code == 403
    for change in (lambda: Act.objects.update(reason="another"), lambda: Act.objects.all().delete()):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            change()
    assert Act.objects.get(pk=act.pk).reason == "why"


def test_an_act_outlives_its_operator(desk: Client, world: World) -> None:
    tom = User.objects.create(username="tom")
    act = acts.record(acts.Actor(name="tom", operator=tom), acts.CHANGE, world.tenant)
    tom.delete()
    act.refresh_from_db()
    assert (act.operator, act.name) == (None, "tom")


def test_a_history_asks_few_queries(desk: Client, world: World) -> None:
    path = address(Tenant, "history", world.tenant.pk)
    few = queries(desk, path)
    for _ in range(20):
        acts.record(acts.by_command("serve"), acts.CHANGE, world.tenant)
    assert queries(desk, path) == few <= 12


def test_commands_are_on_record(db: None) -> None:
    call_command("create_tenant", "Dora")
    call_command("grant_credits", "Dora", PROVIDER, "100", memo="first order")
    call_command("adjust_credits", "Dora", PROVIDER, "-2.5", memo="twice", person="Olive", corrects="1")
    kept = [(act.name, act.kind, act.object_type, act.reason, act.detail) for act in Act.objects.order_by("pk")]
    assert kept == [
        ("manage.py create_tenant", "add", "accounts.tenant", "", ""),
        *[("manage.py create_tenant", "add", "accounts.apikey", "", "")] * 2,
        ("manage.py grant_credits", "grant", "billing.account", "first order", "100 credits."),
        ("Olive (manage.py adjust_credits)", "adjust", "billing.account", "twice", "-2.5 credits."),
    ]
    assert {act.tenant for act in Act.objects.all()} == {Tenant.objects.get()}
    assert Account.objects.get().posted
