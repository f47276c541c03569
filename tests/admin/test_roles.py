"""The ready groups: auditors see everything and change nothing, operators do everything but decide who may do it."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db.models import Model
from django.db.models.signals import post_migrate
from django.test import Client
from django.urls import reverse

from accounts import roles
from accounts.models import User
from tests.admin.conftest import World
from tests.admin.test_pages import address, page_of
from tests.admin.test_permissions import actions

OWN_PAGES = ["/admin/", "/admin/password_change/", "/admin/second_factor/", "/admin/log_out_everywhere/"]
# Who may sign in, and with which rights.
OF_SUPERUSERS = {"accounts.user", "auth.group"}


def member(group: str) -> Client:
    user = User.objects.create(username=group.lower(), is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def label(model: type[Model]) -> str:
    return model._meta.label_lower


def test_an_auditor_sees_every_page_and_is_offered_no_change(world: World) -> None:
    auditor = member(roles.AUDITORS)
    for model in admin.site._registry:
        row = world.rows[model]
        for page in (address(model, "changelist"), page_of(row), address(model, "history", row.pk)):
            assert auditor.get(page).status_code == 200, page
        for page in (address(model, "add"), address(model, "delete", row.pk)):
            assert auditor.get(page).status_code == 403, page
    assert [auditor.get(path).status_code for path in OWN_PAGES] == [200, 200, 302, 200]


def test_an_auditor_sees_no_hash_of_a_password(db: None) -> None:
    olive = User.objects.create_user("olive", password="correct horse battery staple", is_staff=True)
    page = member(roles.AUDITORS).get(page_of(olive)).content.decode()
    assert "olive" in page
    assert olive.password.split("$")[-1][:12] not in page
    assert olive.password.split("$")[-2] not in page


def test_an_auditor_changes_nothing(world: World) -> None:
    auditor = member(roles.AUDITORS)
    for model in admin.site._registry:
        row = world.rows[model]
        before = type(row)._base_manager.filter(pk=row.pk).values().get()
        for path in (address(model, "add"), page_of(row), address(model, "delete", row.pk)):
            assert auditor.post(path, {"post": "yes"}).status_code == 403, path
        chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        auditor.post(address(model, "changelist"), chosen)
        assert type(row)._base_manager.filter(pk=row.pk).values().get() == before, model


def test_an_auditor_opens_no_dialog(world: World) -> None:
    auditor = member(roles.AUDITORS)
    assert actions(world)
    for path in actions(world):
        assert auditor.get(path).status_code == 403, path
        assert auditor.post(path, {"_form_submitted": "on"}).status_code == 403, path


def test_an_operator_does_what_a_superuser_does_but_with_operators(world: World, desk: Client) -> None:
    operator = member(roles.OPERATORS)
    for model in admin.site._registry:
        for path in (address(model, "changelist"), page_of(world.rows[model]), address(model, "add")):
            wanted = desk.get(path).status_code if path.endswith("/add/") else 200
            may = label(model) not in OF_SUPERUSERS or not path.endswith("/add/")
            assert operator.get(path).status_code == (wanted if may else 403), path
    for path in actions(world):
        wanted = 403 if "/accounts/user/" in path else desk.get(path).status_code
        assert operator.get(path).status_code == wanted, path


def test_an_auditor_has_no_permission_but_to_see(db: None) -> None:
    given = Group.objects.get(name=roles.AUDITORS).permissions.values_list("codename", flat=True)
    models = {model for app in roles.APPS for model in apps.get_app_config(app).get_models()}
    assert {name for name in given if not name.startswith("view_")} == set()
    assert {f"view_{model._meta.model_name}" for model in models} <= set(given)


@pytest.mark.parametrize("name", roles.READY)
def test_migrate_takes_away_what_was_added_by_hand_and_adds_what_is_new(db: None, name: str) -> None:
    group = Group.objects.get(name=name)
    wanted = set(group.permissions.values_list("pk", flat=True))
    group.permissions.set(Permission.objects.filter(content_type__model="user"))
    post_migrate.send(apps.get_app_config("searches"), app_config=apps.get_app_config("searches"), using="default")
    assert set(group.permissions.values_list("pk", flat=True)) == wanted
    assert Permission.objects.get(codename="delete_user").pk not in wanted


@pytest.mark.parametrize("name", roles.READY)
def test_a_ready_group_is_not_changed_by_hand(desk: Client, name: str) -> None:
    group = Group.objects.get(name=name)
    every = list(Permission.objects.values_list("pk", flat=True))
    for page, sent in (("change", {"name": name, "permissions": every}), ("delete", {"post": "yes"})):
        path = reverse(f"admin:auth_group_{page}", args=[group.pk])
        assert desk.post(path, sent).status_code == 403
