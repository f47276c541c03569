"""Every setting, with what people give it: nothing, blanks, blanks around it, and what it cannot be."""

from __future__ import annotations

import base64
import re
import runpy
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import settings as configured
from config.environment import BASE_DIR

Read = Callable[..., dict[str, Any]]

NEVER = ["\x07", "a\u2028b"]
WORDS = ["ture", "nan", "inf", "1e9", "0x10", "1_000", "\N{ARABIC-INDIC DIGIT THREE}"]
ABSURD = [*NEVER, *WORDS, "-1", "9" * 30, "*", "://", "//", "http://", "a b"]
# Some settings can be some of it: any text that can be printed is a key outside production, and the name of a folder.
POSSIBLE = {"SECRET_KEY": set(ABSURD) - set(NEVER), "ALLOWED_HOSTS": set(WORDS)}
POSSIBLE |= dict.fromkeys(("STATE_DIR", "STORAGE_DIR"), POSSIBLE["SECRET_KEY"])
COMPOSE = {"POSTGRES_PASSWORD", "WEB_BIND"}
SAMPLES = {
    "PRODUCTION": "false",
    "DEBUG": "false",
    "PORT": "8001",
    "SANDBOX_PORT": "8011",
    "SECRET_KEY": secrets.token_urlsafe(50),
    "CREDENTIAL_KEYS": "a:" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "PUBLIC_URL": "https://sightline.example.com",
    "ALLOWED_HOSTS": "sightline.example.com",
    "DATABASE_URL": "postgresql://app@db.example.com/app",
    "REDIS_URL": "redis://redis.example.com:6379/0",
    "STATE_DIR": "/tmp",
    "STORAGE_DIR": "/tmp",
    "MODASH_BRANDS_PATH": "/brands",
    "OUTBOUND_PORTS": "80,8080",
    "OUTBOUND_ALLOW": "127.0.0.0/8,::1/128",
    "PROXIES": "10.0.0.0/8,fd00::/8",
    "WEBHOOK_PAUSES": "1,2.5",
    "LOG_LEVEL": "WARNING",
    "SANDBOX_ONE_ACCOUNT": "true",
}
# Given, so that none is made in a folder that only a test names.
KEYS = {name: SAMPLES[name] for name in ("SECRET_KEY", "CREDENTIAL_KEYS")}


def sample(name: str) -> str:
    return SAMPLES.get(name) or ("https://provider.example.com/v1" if name.endswith("_URL") else "60")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Settings, read where only this is given, beside where the state is and, if not said otherwise, keys."""

    def read(*, keys: bool = True, **given: str) -> dict[str, Any]:
        for name in configured.env.settings.keys() - {"STATE_DIR"}:
            monkeypatch.delenv(name, raising=False)
        for name, value in ((KEYS if keys else {}) | given).items():
            monkeypatch.setenv(name, value)
        values = runpy.run_path(str(BASE_DIR / "config/settings.py"))
        return {name: value for name, value in values.items() if name.isupper() and name not in ("LOGGING", "T")}

    return read


every_setting = pytest.mark.parametrize("name", sorted(configured.env.settings))


@every_setting
@pytest.mark.parametrize("nothing", ["", " ", "\t \n"])
def test_empty_is_unset(read: Read, name: str, nothing: str) -> None:
    assert read(keys=False, **{name: nothing}) == read(keys=False)


@every_setting
def test_blanks_around_a_value_are_no_part_of_it(read: Read, name: str) -> None:
    assert read(**{name: f"\t {sample(name)} \r\n"}) == read(**{name: sample(name)})


@every_setting
@pytest.mark.parametrize("absurd", ABSURD)
def test_what_a_setting_cannot_be_costs_one_line_that_names_it(read: Read, name: str, absurd: str) -> None:
    if absurd in POSSIBLE.get(name, ()):
        read(**{name: absurd})
        return
    with pytest.raises(ImproperlyConfigured) as error:
        read(**{name: absurd})
    said = str(error.value)
    assert said.startswith(name)
    assert "\n" not in said


def test_the_example_has_every_setting_and_no_other() -> None:
    lines = (BASE_DIR / ".env.example").read_text().splitlines()
    named = {found[1] for line in lines if (found := re.match(r"#?([A-Z][A-Z0-9_]*)=", line))}
    assert named == configured.env.settings.keys() | COMPOSE
