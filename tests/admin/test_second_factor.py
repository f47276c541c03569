"""A second factor: asked for by setting, given by an app or by a code on paper, each once, slowly guessed, and reset if lost."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django_otp.oath import totp
from pytest_django import Settings

from accounts import second_factors, vault
from accounts.models import SecondFactor, User
from tests.admin.test_log_ins import PASSWORD, nothing_counted  # noqa: F401 - it counts anew for each test

ASK, SET_UP, FIRST, LIST = "/admin/second_factor/", "/admin/second_factor/set_up/", "/admin/", "/admin/accounts/tenant/"
CODE_ON_PAPER = re.compile(r"<li>([A-Z2-9]{5}-[A-Z2-9]{5})</li>")
MOMENT = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def olive(operator: User) -> User:
    operator.set_password(PASSWORD)
    operator.save()
    return operator


@pytest.fixture
def desk(olive: User) -> Client:
    return signed_in()


def signed_in() -> Client:
    client = Client()
    client.post("/admin/login/", {"username": "olive", "password": PASSWORD})
    return client


def secret_in(client: Client) -> str:
    """Returns the secret that the page shows."""
    found = re.search(r"<code[^>]*>([A-Z2-7 ]+)</code>", client.get(SET_UP).content.decode())
    assert found
    return found[1].replace(" ", "")


def code_of(secret: str) -> str:
    return f"{totp(base64.b32decode(secret)):06}"


def give(client: Client, code: str, **query: str) -> Any:
    return client.post(ASK, {"code": code}, query_params=query)


def enrolled(client: Client) -> tuple[str, list[str]]:
    """Sets an app up, and returns its secret and the codes on paper."""
    secret = secret_in(client)
    page = client.post(SET_UP, {"code": code_of(secret)})
    assert page.status_code == 200
    return secret, CODE_ON_PAPER.findall(page.content.decode())


def test_a_required_factor_is_set_up_before_anything_else(desk: Client, settings: Settings) -> None:
    settings.OPERATORS_SECOND_FACTOR = "required"
    assert desk.get(LIST).headers["Location"] == "/admin/second_factor/?next=%2Fadmin%2Faccounts%2Ftenant%2F"
    assert desk.get(ASK).headers["Location"] == SET_UP
    assert desk.post("/admin/accounts/tenant/add/", {"name": "x"}).status_code == 302
    _, codes = enrolled(desk)
    assert len(set(codes)) == second_factors.BACKUP_CODES
    assert desk.get(LIST).status_code == 200


def test_a_set_up_factor_is_asked_for_after_the_password(desk: Client) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        secret, _ = enrolled(desk)
        clock.shift(60)
        other = signed_in()
        assert other.get(FIRST).headers["Location"].startswith(ASK)
        assert other.get(SET_UP).headers["Location"] == ASK
        assert other.get(LIST, headers={"HX-Request": "true"}).headers["HX-Redirect"].startswith(ASK)
        assert give(other, code_of(secret), next=LIST).headers["Location"] == LIST
        assert other.get(LIST).status_code == 200


def test_without_an_app_an_optional_factor_is_not_asked_for(desk: Client) -> None:
    assert desk.get(FIRST).status_code == 200


def test_a_factor_that_is_off_is_asked_of_nobody(desk: Client, settings: Settings) -> None:
    enrolled(desk)
    settings.OPERATORS_SECOND_FACTOR = "off"
    assert signed_in().get(FIRST).status_code == 200


def test_a_code_is_taken_once(desk: Client) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        secret, _ = enrolled(desk)
        clock.shift(60)
        code = code_of(secret)
        assert give(signed_in(), code).status_code == 302
        refused = give(signed_in(), code)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert "used before" in refused.content.decode()
        clock.shift(30)
        assert give(signed_in(), code_of(secret)).status_code == 302


def test_a_code_on_paper_opens_once_when_the_app_is_lost(desk: Client) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        _, codes = enrolled(desk)
        assert give(signed_in(), codes[3].lower().replace("-", " ")).status_code == 302
        assert give(signed_in(), codes[3]).status_code == 429
        clock.shift(2)
        assert give(signed_in(), codes[4]).status_code == 302
        assert len(SecondFactor.objects.get().backup_digests) == second_factors.BACKUP_CODES - 2


def test_codes_are_guessed_ever_more_slowly(desk: Client) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        secret, _ = enrolled(desk)
        clock.shift(60)
        guesser = signed_in()
        waits = []
        for _ in range(5):
            waits.append(int(give(guesser, "000000").headers["Retry-After"]))
            clock.shift(waits[-1])
        assert waits == [1, 2, 4, 8, 16]
        give(guesser, "000000")
        assert give(guesser, code_of(secret)).status_code == 429
        clock.shift(64)
        assert give(guesser, code_of(secret)).status_code == 302


@pytest.mark.parametrize("code", ["", "12345", "1234567", "²²²²²²", "nul\0", "٣٤٥٦٧٨", "x" * 5000, "ABCDE-FGHJK"])
def test_no_other_text_is_a_code(desk: Client, code: str) -> None:
    enrolled(desk)
    other = signed_in()
    assert give(other, code).status_code in (200, 429)
    assert other.get(FIRST).status_code == 302


def test_a_superuser_resets_a_lost_factor_and_all_sessions_end(desk: Client, olive: User, settings: Settings) -> None:
    enrolled(desk)
    boss = User.objects.create(username="boss", is_staff=True, is_superuser=True)
    office = Client()
    office.force_login(boss)
    path = reverse("admin:accounts_user_reset_second_factor", args=[olive.pk])
    assert office.get(path).status_code == 200
    assert "HX-Redirect" in office.post(path, {"_form_submitted": "on", "reason": "lost"}).headers
    assert not SecondFactor.objects.exists()
    assert desk.get(FIRST).headers["Location"].startswith("/admin/login/")
    assert office.get(path).status_code == 403
    assert signed_in().get(FIRST).status_code == 200


def test_a_new_app_replaces_the_old_one_and_ends_other_sessions(desk: Client) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        first, _ = enrolled(desk)
        clock.shift(60)
        other = signed_in()
        give(other, code_of(first))
        second, _ = enrolled(desk)
        assert other.get(FIRST).headers["Location"].startswith("/admin/login/")
        clock.shift(60)
        assert give(signed_in(), code_of(first)).status_code == 429
        clock.shift(60)
        assert give(signed_in(), code_of(second)).status_code == 302


def test_the_operators_own_page_renews_codes_and_removes_the_factor(desk: Client) -> None:
    _, codes = enrolled(desk)
    assert "10 of your codes" in desk.get(ASK).content.decode()
    renewed = CODE_ON_PAPER.findall(desk.post(ASK, {"codes": "1"}).content.decode())
    assert not set(renewed) & set(codes)
    desk.post(ASK, {"remove": "1"})
    assert not SecondFactor.objects.exists()
    assert desk.get(FIRST).status_code == signed_in().get(FIRST).status_code == 200


def test_a_required_factor_is_not_removed(desk: Client, settings: Settings) -> None:
    settings.OPERATORS_SECOND_FACTOR = "required"
    enrolled(desk)
    assert "Remove" not in desk.get(ASK).content.decode()
    desk.post(ASK, {"remove": "1"})
    assert SecondFactor.objects.exists()


def test_a_wrong_code_sets_nothing_up(desk: Client) -> None:
    secret_in(desk)
    assert "not the code" in desk.post(SET_UP, {"code": "000000"}).content.decode()
    assert not SecondFactor.objects.exists()


def test_what_is_stored_gives_no_codes(desk: Client) -> None:
    secret, codes = enrolled(desk)
    device = SecondFactor.objects.get()
    stored = str(SecondFactor.objects.values().get()) + bytes(device.sealed).hex()
    assert not [text for text in (secret, *codes, *(code.replace("-", "") for code in codes)) if text in stored]
    assert device.opened() == secret
    device.user_id += 1
    with pytest.raises(vault.Unopenable):
        device.opened()


def test_the_way_on_leads_nowhere_else(desk: Client) -> None:
    with time_machine.travel(MOMENT, tick=False) as clock:
        secret, _ = enrolled(desk)
        for wanted in ("https://evil.example/admin/", "//evil.example", "/v1/searches", "javascript:alert(1)"):
            clock.shift(60)
            assert give(signed_in(), code_of(secret), next=wanted).headers["Location"] == FIRST
