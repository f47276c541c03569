"""An operator's session ends: unused, old, with the password, with the account, and everywhere at once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import tasks
from accounts.models import User
from tests.admin.test_log_ins import PASSWORD

FIRST = "/admin/"
MOMENT = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
MINUTE, HOUR = 60, 3600


@pytest.fixture
def olive(operator: User, settings: Settings) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    operator.set_password(PASSWORD)
    operator.save()
    return operator


def at_desk(user: User) -> Client:
    client = Client()
    client.force_login(User.objects.get(pk=user.pk))
    return client


def is_open(client: Client, **headers: str) -> bool:
    answer = client.get(FIRST, headers=headers)
    return answer.status_code == 200 and "HX-Redirect" not in answer


def test_a_session_that_is_not_used_ends(olive: User, settings: Settings) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        desk = at_desk(olive)
        for _ in range(3):
            clock.shift(settings.OPERATORS_IDLE_MINUTES * MINUTE - 1)
            assert is_open(desk)
        clock.shift(settings.OPERATORS_IDLE_MINUTES * MINUTE + 1)
        page = desk.get("/admin/accounts/tenant/", follow=True)
        assert page.redirect_chain == [("/admin/login/?next=%2Fadmin%2Faccounts%2Ftenant%2F", 302)]
        assert "Your session has ended" in page.content.decode()


@pytest.mark.parametrize("headers", [{"HX-Request": "true"}, {"Sec-Fetch-Mode": "cors"}])
def test_a_page_that_refreshes_itself_does_not_keep_a_session(
    olive: User, settings: Settings, headers: dict[str, str]
) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        desk = at_desk(olive)
        for _ in range(settings.OPERATORS_IDLE_MINUTES // 20):
            clock.shift(20 * MINUTE)
            assert is_open(desk, **headers)
        clock.shift(1)
        assert not is_open(desk, **headers)


def test_a_session_in_use_ends_too(olive: User, settings: Settings) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        desk = at_desk(olive)
        for _ in range(settings.OPERATORS_SESSION_HOURS * 2):
            clock.shift(HOUR / 2)
            assert is_open(desk)
        clock.shift(1)
        assert not is_open(desk)


def test_a_new_password_ends_other_sessions(olive: User) -> None:
    desk, other = at_desk(olive), at_desk(olive)
    new = {"new_password1": f"{PASSWORD}r", "new_password2": f"{PASSWORD}r"}
    assert desk.post(reverse("admin:password_change"), {"old_password": PASSWORD, **new}).status_code == 302
    assert (is_open(desk), is_open(other)) == (True, False)


@pytest.mark.parametrize("lost", ["is_active", "is_staff"])
def test_who_is_deactivated_is_out_at_once(olive: User, lost: str) -> None:
    desk = at_desk(olive)
    User.objects.filter(pk=olive.pk).update(**{lost: False})
    assert not is_open(desk)


def test_an_operator_logs_out_everywhere(olive: User) -> None:
    desk, other = at_desk(olive), at_desk(olive)
    path = reverse("log_out_everywhere")
    assert desk.get(path).status_code == 200
    assert is_open(other)
    assert desk.post(path).headers["Location"] == "/admin/login/"
    assert (is_open(desk), is_open(other)) == (False, False)
    assert is_open(at_desk(olive))


def test_a_superuser_ends_an_operators_sessions(olive: User) -> None:
    tom = User.objects.create_user("tom", password=PASSWORD, is_staff=True)
    desk, toms_desk = at_desk(olive), at_desk(tom)
    path = reverse("admin:accounts_user_end_sessions", args=[tom.pk])
    assert toms_desk.post(path, {"_form_submitted": "on"}).status_code == 403
    assert "HX-Redirect" in desk.post(path, {"_form_submitted": "on"}).headers
    assert (is_open(desk), is_open(toms_desk)) == (True, False)


def test_a_new_secret_key_keeps_sessions_while_the_old_one_is_known(olive: User, settings: Settings) -> None:
    desk = at_desk(olive)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-key" * 5
    assert is_open(desk)


def test_ended_sessions_are_swept(olive: User, settings: Settings) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        at_desk(olive)
        clock.shift(settings.OPERATORS_SESSION_HOURS * HOUR + 1)
        desk = at_desk(olive)
        tasks.sweep_sessions()
        assert Session.objects.count() == 1
        assert is_open(desk)


def test_a_sessions_cookie_is_for_no_script_and_ends_with_the_browser(olive: User) -> None:
    cookie = Client().post("/admin/login/", {"username": "olive", "password": PASSWORD}).cookies["sessionid"]
    assert (cookie["httponly"], cookie["max-age"], cookie["samesite"]) == (True, "", "Lax")
