"""Staff that may change operators gains nothing by it: rights and others' passwords are for superusers."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from accounts.models import User

PASSWORD = "correct horse battery staple"
EVERYTHING = [f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("user", "group")]


@pytest.fixture
def clerk(db: None) -> User:
    """Makes staff with every permission on operators and groups."""
    clerk = User.objects.create_user("carla", password=PASSWORD, is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=EVERYTHING))
    return clerk


@pytest.fixture
def at_work(clerk: User) -> Client:
    client = Client()
    client.force_login(clerk)
    return client


def page(user: User, name: str = "change") -> str:
    return reverse(f"admin:accounts_user_{name}", args=[user.pk])


def form(user: User, **other: Any) -> dict[str, Any]:
    """Returns the fields that the page sends for a user, with every right ticked."""
    return {
        "username": user.username,
        "email": user.email,
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        **other,
    }


def every_right() -> dict[str, Any]:
    return {
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [Group.objects.create(name="all").pk],
        "user_permissions": list(Permission.objects.values_list("pk", flat=True)),
    }


def rights(user: User) -> tuple[bool, bool, int, int]:
    user = User.objects.get(pk=user.pk)
    return user.is_staff, user.is_superuser, user.groups.count(), user.user_permissions.count()


@pytest.mark.parametrize("whose", ["own", "other"])
def test_rights_are_not_taken_from_a_form(at_work: Client, clerk: User, whose: str) -> None:
    user = clerk if whose == "own" else User.objects.create_user("tom", password=PASSWORD)
    before = rights(user)
    answer = at_work.post(page(user), form(user, first_name="Changed", **every_right()))
    assert answer.status_code == 302
    assert User.objects.get(pk=user.pk).first_name == "Changed"
    assert rights(user) == before


def test_a_new_operator_has_no_rights(at_work: Client) -> None:
    sent = {"username": "new", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert at_work.post(reverse("admin:accounts_user_add"), sent | every_right()).status_code == 302
    assert rights(User.objects.get(username="new")) == (False, False, 0, 0)


def test_a_superuser_is_not_touched(at_work: Client, operator: User) -> None:
    for sent in (form(operator, username="mine"), form(operator, is_active="")):
        assert at_work.post(page(operator), sent).status_code == 403
    assert at_work.post(page(operator, "delete"), {"post": "yes"}).status_code == 403
    assert User.objects.get(pk=operator.pk).username == "olive"


def test_a_superuser_is_not_deleted_among_others(at_work: Client, operator: User) -> None:
    tom = User.objects.create_user("tom", password=PASSWORD)
    sent = {"action": "delete_selected", "_selected_action": [operator.pk, tom.pk], "post": "yes"}
    at_work.post(reverse("admin:accounts_user_changelist"), sent)
    assert User.objects.filter(pk__in=[operator.pk, tom.pk]).count() == 2


@pytest.mark.parametrize("whose", ["own", "superuser", "other"])
def test_no_password_is_set_without_the_old_one(at_work: Client, clerk: User, operator: User, whose: str) -> None:
    tom = User.objects.create_user("tom", password=PASSWORD, is_staff=True)
    user = {"own": clerk, "superuser": operator, "other": tom}[whose]
    before = user.password
    path = reverse("admin:auth_user_password_change", args=[user.pk])
    sent = {"usable_password": "true", "password1": "another horse battery", "password2": "another horse battery"}
    assert at_work.get(path).status_code == 403
    assert at_work.post(path, sent).status_code == 403
    assert User.objects.get(pk=user.pk).password == before


def test_ones_own_password_is_changed_with_the_old_one(at_work: Client, clerk: User) -> None:
    sent = {
        "old_password": PASSWORD,
        "new_password1": "another horse battery",
        "new_password2": "another horse battery",
    }
    assert at_work.post(reverse("admin:password_change"), sent).status_code == 302
    assert User.objects.get(pk=clerk.pk).check_password("another horse battery")


def test_groups_are_for_superusers(at_work: Client, clerk: User) -> None:
    group = Group.objects.create(name="clerks")
    clerk.groups.add(group)
    every = list(Permission.objects.values_list("pk", flat=True))
    assert at_work.get(reverse("admin:auth_group_change", args=[group.pk])).status_code == 200
    for path in (
        reverse("admin:auth_group_change", args=[group.pk]),
        reverse("admin:auth_group_add"),
        reverse("admin:auth_group_delete", args=[group.pk]),
    ):
        assert at_work.post(path, {"name": "clerks", "permissions": every, "post": "yes"}).status_code == 403
    sent = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
    at_work.post(reverse("admin:auth_group_changelist"), sent)
    group.refresh_from_db()
    assert (group.name, group.permissions.count()) == ("clerks", 0)


def test_a_superuser_gives_rights(desk: Client) -> None:
    tom = User.objects.create_user("tom", password=PASSWORD)
    given = every_right()
    assert desk.post(page(tom), form(tom, **given)).status_code == 302
    assert rights(tom) == (True, True, 1, len(given["user_permissions"]))
    path = reverse("admin:auth_user_password_change", args=[tom.pk])
    sent = {"usable_password": "true", "password1": "another horse battery", "password2": "another horse battery"}
    assert desk.post(path, sent).status_code == 302
    assert User.objects.get(pk=tom.pk).check_password("another horse battery")


@pytest.mark.parametrize("password", ["short", "password1234", "847593726450182"])
def test_the_admin_sets_no_weak_password(desk: Client, password: str) -> None:
    sent = {"username": "new", "usable_password": "true", "password1": password, "password2": password}
    assert desk.post(reverse("admin:accounts_user_add"), sent).status_code == 200
    assert not User.objects.filter(username="new").exists()
