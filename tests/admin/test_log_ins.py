"""Passwords are guessed slowly: by name and by address, and without a way around either."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

import pytest
import redis
from django.contrib.auth.hashers import check_password, make_password
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import log_ins
from accounts.models import User

PASSWORD = "correct horse battery staple"
ALPHA, BETA, GAMMA = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.fixture(autouse=True)
def nothing_counted(settings: Settings) -> Iterator[None]:
    """And a quick hash: while one is made, tries come back."""
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


def test_a_name_is_guessed_at_a_few_times_from_wherever(olive: User) -> None:
    tries = [status for number in range(7) for status in wrong("olive", f"192.0.2.{number}", 1)]
    assert tries == [200] * 5 + [429] * 2
    assert wrong("Olive ", GAMMA, 1) == [429]
    assert sign_in("olive", PASSWORD, GAMMA) == 429


def test_an_address_guesses_a_few_times_at_whatever_names(olive: User) -> None:
    tries = [sign_in(f"name {number}", "wrong", ALPHA) for number in range(22)]
    assert tries == [200] * 20 + [429] * 2
    assert sign_in("olive", PASSWORD, BETA) == 302


def test_a_refusal_says_when_to_come_again(olive: User) -> None:
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


def test_without_redis_nobody_signs_in_and_sessions_go_on(olive: User, settings: Settings) -> None:
    client = Client()
    client.force_login(olive)
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    assert sign_in("olive", PASSWORD, ALPHA) == 503
    assert client.get(reverse("admin:index")).status_code == 200


def test_few_sign_in_at_once(olive: User) -> None:
    for _ in range(log_ins.MOST_AT_ONCE):
        assert log_ins._at_once.acquire(blocking=False)
    try:
        assert sign_in("olive", PASSWORD, ALPHA) == 503
    finally:
        log_ins._at_once.release(log_ins.MOST_AT_ONCE)
    assert sign_in("olive", PASSWORD, ALPHA) == 302


def test_a_hash_is_as_django_makes_it(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["accounts.passwords.Hasher"]
    encoded = make_password(PASSWORD)
    assert encoded.startswith("pbkdf2_sha256$")
    assert check_password(PASSWORD, encoded)
    assert not check_password("another", encoded)
