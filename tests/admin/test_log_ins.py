"""Passwords are guessed slowly: by name and by address, and without a way around either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network

import pytest
import redis
from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.test import Client
from django.test.client import encode_multipart
from django.urls import reverse
from pytest_django import Settings

from accounts import log_ins, redis_client
from accounts.models import User

PASSWORD = "correct horse battery staple"
ALPHA, BETA, GAMMA = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.fixture(autouse=True)
def nothing_counted(settings: Settings) -> Iterator[None]:
    """Counts nothing yet, and hashes quickly: while a hash is made, tries come back."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    client = redis.Redis.from_url(settings.REDIS_URL)

    def forget() -> None:
        for pattern in ("rate:log_ins*", "signed_in:*"):
            for key in client.scan_iter(pattern):
                client.delete(key)

    forget()
    yield
    forget()
    client.close()


@pytest.fixture
def olive(operator: User) -> User:
    operator.set_password(PASSWORD)
    operator.save()
    return operator


def sign_in(name: str, password: str, address: str, **headers: str) -> int:
    answer = Client(REMOTE_ADDR=address, headers=headers).post(
        "/admin/login/", {"username": name, "password": password}
    )
    return answer.status_code


def wrong(name: str, address: str, count: int, **headers: str) -> list[int]:
    return [sign_in(name, f"wrong {number}", address, **headers) for number in range(count)]


def test_a_name_can_be_tried_a_few_times_from_all_addresses(olive: User) -> None:
    tries = [status for number in range(7) for status in wrong("olive", f"192.0.2.{number}", 1)]
    assert tries == [200] * 5 + [429] * 2
    assert wrong("Olive ", GAMMA, 1) == [429]
    assert sign_in("olive", PASSWORD, GAMMA) == 429


def test_an_address_can_try_a_few_passwords_over_all_names(olive: User) -> None:
    tries = [sign_in(f"name {number}", "wrong", ALPHA) for number in range(22)]
    assert tries == [200] * 20 + [429] * 2
    assert sign_in("olive", PASSWORD, BETA) == 302


def test_a_refusal_says_when_to_try_again(olive: User) -> None:
    wrong("olive", ALPHA, 5)
    answer = Client(REMOTE_ADDR=ALPHA).post("/admin/login/", {"username": "olive", "password": "wrong"})
    assert answer.content.decode().startswith("A name may be tried 5 times in 5 minutes. Ask again in ")
    assert 0 < int(answer["Retry-After"]) <= 60


def test_the_right_password_makes_earlier_tries_forgotten(olive: User) -> None:
    wrong("olive", ALPHA, 4)
    assert sign_in("olive", PASSWORD, ALPHA) == 302
    assert wrong("olive", ALPHA, 5) == [200] * 5


def test_an_owner_is_not_locked_out_where_it_signed_in_before(olive: User) -> None:
    assert sign_in("olive", PASSWORD, ALPHA) == 302
    assert wrong("olive", BETA, 6)[-1] == 429
    assert sign_in("olive", PASSWORD, ALPHA) == 302


def test_the_old_password_is_not_guessed_from_a_session(olive: User) -> None:
    client = Client(REMOTE_ADDR=ALPHA)
    client.force_login(olive)
    sent = {"new_password1": "another horse battery", "new_password2": "another horse battery"}
    path = reverse("admin:password_change")
    tries = [client.post(path, sent | {"old_password": f"wrong {number}"}).status_code for number in range(6)]
    assert tries == [200] * 5 + [429]
    assert client.get(reverse("admin:index")).status_code == 200


def test_only_our_proxies_say_who_connected(olive: User, settings: Settings) -> None:
    for number in range(20):
        wrong(f"name {number}", ALPHA, 1, **{"X-Forwarded-For": f"198.51.100.{number}"})
    assert wrong("another", ALPHA, 1, **{"X-Forwarded-For": "198.51.100.99"}) == [429]
    settings.PROXIES = [ip_network("192.0.2.0/24")]
    assert wrong("another", ALPHA, 1, **{"X-Forwarded-For": "203.0.113.1, 198.51.100.99"}) == [200]
    assert wrong("another", ALPHA, 1, **{"X-Forwarded-For": "nonsense"}) == [429]


def test_without_redis_log_ins_are_refused_and_sessions_continue(olive: User, settings: Settings) -> None:
    client = Client()
    client.force_login(olive)
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    assert sign_in("olive", PASSWORD, ALPHA) == 503
    assert client.get(reverse("admin:index")).status_code == 200


def test_few_sign_in_at_once(olive: User) -> None:
    with ExitStack() as holding:
        for address in ("a", "a", "b"):
            holding.enter_context(log_ins.slots.acquire(address))
        holding.enter_context(log_ins.slots.acquire("c"))
        assert sign_in("olive", PASSWORD, ALPHA) == 503
    assert sign_in("olive", PASSWORD, ALPHA) == 302


def test_one_address_never_holds_every_slot(olive: User) -> None:
    with ExitStack() as holding:
        for _ in range(log_ins.MOST_AT_ONCE // 2):
            holding.enter_context(log_ins.slots.acquire("2001:db8::/64"))
        assert sign_in("olive", PASSWORD, "2001:db8::99") == 503
        assert sign_in("olive", PASSWORD, ALPHA) == 302


def test_a_stranger_does_not_empty_a_bucket_at_the_change_of_a_password(olive: User) -> None:
    wrong("olive", ALPHA, 5)
    for values in ({"username": "olive"}, {"username": "olive", "old_password": PASSWORD}):
        assert Client(REMOTE_ADDR=BETA).post("/admin/password_change/", values).status_code == 302
    assert wrong("olive", BETA, 1) == [429]
    assert not redis_client.of(settings.REDIS_URL).keys("signed_in:*")


@pytest.mark.parametrize("path", ["/admin/login/?next=/admin/", "/admin/login/"])
def test_no_redirect_but_that_of_a_right_password_empties_a_bucket(olive: User, path: str) -> None:
    """Tries a session that exists already, and a person who may not sign in."""
    plain = User.objects.create_user("plain", password=PASSWORD)
    client = Client(REMOTE_ADDR=ALPHA)
    client.force_login(olive)
    tries = [client.post(path, {"username": "plain", "password": PASSWORD}).status_code for _ in range(6)]
    assert tries == [200] * 5 + [429]
    assert plain.last_login is None


def test_a_changed_password_makes_earlier_tries_forgotten(olive: User) -> None:
    client = Client(REMOTE_ADDR=ALPHA)
    client.force_login(olive)
    path, new = reverse("admin:password_change"), {"new_password1": PASSWORD + "r", "new_password2": PASSWORD + "r"}
    assert [client.post(path, new | {"old_password": "wrong"}).status_code for _ in range(4)] == [200] * 4
    assert client.post(path, new | {"old_password": PASSWORD}).status_code == 302
    assert wrong("olive", ALPHA, 5) == [200] * 5


@pytest.mark.parametrize(
    "name", ["\uff4flive", "\U0001d428live", "\uff2f\uff2c\uff29\uff36\uff25", "\u3000olive\u2003", "OLIVE", " olive\t"]
)
def test_a_name_has_one_bucket_however_it_is_spelt(olive: User, name: str) -> None:
    wrong("olive", ALPHA, 5)
    assert wrong(name, BETA, 1) == [429]
    assert wrong("oliver", BETA, 1) == [200]


@pytest.mark.parametrize("name", ["", "\0", "ol\0ive", "\ufdfa" * 5_000, "x" * 100_000, "\udc80"])
def test_an_unknown_name_is_answered_as_a_wrong_password(olive: User, name: str) -> None:
    body = encode_multipart("b", {"password": "wrong"}).replace(b"--b--", b"")
    part = b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\n%s\r\n--b--\r\n'
    sent = body + part % name.encode("utf-7", "surrogatepass")
    answer = Client(REMOTE_ADDR=ALPHA).generic(
        "POST", "/admin/login/", sent, "multipart/form-data; boundary=b; charset=utf-7"
    )
    assert answer.status_code in (200, 400)
    assert sign_in(name.replace("\udc80", "?"), "wrong", ALPHA) in (200, 400)


def test_an_operator_guesses_at_others_as_slowly_as_anybody(olive: User) -> None:
    """Counts tries under the guessed name. The guesser's own log-ins do not make its address a known one of that name."""
    User.objects.create_user("mallory", password=PASSWORD, is_staff=True)
    client = Client(REMOTE_ADDR=ALPHA)
    client.post("/admin/login/", {"username": "mallory", "password": PASSWORD})
    tries = [client.post("/admin/login/", {"username": "olive", "password": f"w {n}"}).status_code for n in range(6)]
    assert tries == [200] * 5 + [429]


def test_a_log_in_of_ones_own_gives_an_address_no_more_tries(olive: User) -> None:
    User.objects.create_user("mallory", password=PASSWORD, is_staff=True)
    tries = []
    for number in range(17):
        tries += wrong(f"name {number}", ALPHA, 1)
        if number % 5 == 4:
            assert sign_in("mallory", PASSWORD, ALPHA) == 302
    assert tries == [200] * 17
    assert wrong("another", ALPHA, 1) == [429]


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("2001:db8:1:2::{:x}", "2001:db8:1:3::1"),
        ("2001:db8:1:2:{:x}::", "2001:db8:1:20::"),
        ("::ffff:192.0.2.1%{}", "::ffff:192.0.2.2"),
    ],
)
def test_an_address_is_counted_by_what_one_caller_has_of_it(olive: User, first: str, other: str) -> None:
    tries = [sign_in(f"name {number}", "wrong", first.format(number + 1)) for number in range(21)]
    assert tries == [200] * 20 + [429]
    assert wrong("another", other, 1) == [200]


def test_an_address_of_version_4_is_one_in_either_form(olive: User, settings: Settings) -> None:
    for number in range(20):
        wrong(f"name {number}", ALPHA, 1)
    assert wrong("another", f"::ffff:{ALPHA}", 1) == [429]
    settings.PROXIES = [ip_network("198.51.100.0/24")]
    assert wrong("another", "::ffff:198.51.100.1", 1, **{"X-Forwarded-For": BETA}) == [200]
    assert wrong("another", "::ffff:198.51.100.1", 1, **{"X-Forwarded-For": f"::ffff:{ALPHA}"}) == [429]


def test_a_hash_is_as_django_makes_it(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["accounts.passwords.Hasher"]
    encoded = make_password(PASSWORD)
    assert encoded.startswith("pbkdf2_sha256$")
    assert check_password(PASSWORD, encoded)
    assert not check_password("another", encoded)
