"""Permissions decide what an operator may do, on every page and for every action."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts.models import Act, User
from searches.models import Search
from tests.admin.conftest import World
from tests.admin.test_pages import address, each_model, page_of


@pytest.fixture
def trainee(db: None) -> User:
    return User.objects.create(username="tom", is_staff=True)


@pytest.fixture
def trainees_desk(trainee: User) -> Client:
    client = Client()
    client.force_login(trainee)
    return client


def allow(user: User, *names: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=names))


def actions(world: World) -> list[str]:
    """Returns the address of every action of every page."""
    return [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=[world.rows[model].pk])
        for model, page in admin.site._registry.items()
        for name in getattr(page, "actions_detail", ())
    ]


@each_model
def test_a_stranger_is_sent_to_sign_in(client: Client, world: World, model: type[Model]) -> None:
    for path in (address(model, "changelist"), page_of(world.rows[model]), address(model, "add")):
        assert client.get(path).headers["Location"].startswith("/admin/login/")


@each_model
def test_without_permissions_no_page_opens(trainees_desk: Client, world: World, model: type[Model]) -> None:
    for path in (address(model, "changelist"), page_of(world.rows[model]), address(model, "add")):
        assert trainees_desk.get(path).status_code == 403


def test_without_permissions_the_sidebar_is_empty(trainees_desk: Client, world: World) -> None:
    html = trainees_desk.get(reverse("admin:index")).content.decode()
    assert [path for model in admin.site._registry if (path := address(model, "changelist")) in html] == []


def test_the_sidebar_leads_to_every_list(desk: Client, world: World) -> None:
    html = desk.get(reverse("admin:index")).content.decode()
    sidebar = html[html.index("nav-sidebar-apps") : html.index('id="main"')]
    assert [model for model in admin.site._registry if address(model, "changelist") not in sidebar] == []


def test_a_picture_needs_the_permission_to_see_pictures(trainees_desk: Client, trainee: User, world: World) -> None:
    paths = [reverse(f"admin:searches_image_{kind}", args=[world.image.pk]) for kind in ("picture", "thumbnail")]
    allow(trainee, "view_search")
    assert {trainees_desk.get(path).status_code for path in paths} == {403}
    assert paths[1] not in trainees_desk.get(address(Search, "changelist")).content.decode()
    allow(trainee, "view_search", "view_image")
    assert {trainees_desk.get(path).status_code for path in paths} == {200}
    assert paths[1] in trainees_desk.get(address(Search, "changelist")).content.decode()


def test_a_search_shows_only_what_may_be_seen(trainees_desk: Client, trainee: User, world: World) -> None:
    allow(trainee, "view_search", "view_lookup")
    html = trainees_desk.get(page_of(world.search)).content.decode()
    assert page_of(world.lookup) in html
    for hidden in (
        page_of(world.call),
        page_of(world.result),
        world.result.title,
        "/picture/",
        'id="results"',
        "830 ms",
    ):
        assert hidden not in html


def test_who_may_only_see_can_do_nothing(trainees_desk: Client, trainee: User, world: World) -> None:
    allow(trainee, *(f"view_{model._meta.model_name}" for model in world.rows))
    assert len(actions(world)) >= 26
    for path in actions(world):
        assert trainees_desk.get(path).status_code == 403, path
        assert trainees_desk.post(path, {"_form_submitted": "on"}).status_code == 403, path


@each_model
def test_who_may_only_see_changes_nothing(
    trainees_desk: Client, trainee: User, world: World, model: type[Model]
) -> None:
    allow(trainee, f"view_{model._meta.model_name}")
    assert trainees_desk.get(page_of(world.rows[model])).status_code == 200
    assert trainees_desk.post(page_of(world.rows[model]), {}).status_code == 403
    assert trainees_desk.post(address(model, "delete", world.rows[model].pk), {"post": "yes"}).status_code == 403


def test_what_is_done_to_a_row_is_on_record(desk: Client, world: World) -> None:
    """Looks at every action that ends well, whatever its page. Those that ask a provider have tests of their own."""
    sent = {"_form_submitted": "on", "amount": "1", "memo": "why", "corrects": "1", "reason": "why"}
    done = 0
    # An operator whose sessions are ended does no more.
    for path in sorted(actions(world), key=lambda path: "/end_sessions" in path):
        before = Act.objects.count()
        if "verify" not in path and "reconcile" not in path and "HX-Redirect" in desk.post(path, sent).headers:
            assert Act.objects.count() == before + 1, path
            act = Act.objects.latest("pk")
            assert (act.name, act.address, act.reason) == ("olive", "127.0.0.1", "why"), path
            assert f"/{act.kind}" in path
            done += 1
    assert done >= 6
