"""Fixtures that the tests of this folder share: settings read from what a test gives, and a Redis account with some rights."""

from __future__ import annotations

import base64
import os
import runpy
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from pytest_django import Settings

from accounts import redis_client
from config import settings as configured
from config.environment import BASE_DIR

As = Callable[..., None]


@pytest.fixture
def as_account(settings: Settings) -> Iterator[As]:
    """Makes Redis know this process as an account with those rights."""
    url = settings.REDIS_URL
    admin = redis.Redis.from_url(url)
    # The processes of one run share the server and therefore its accounts.
    name = f"limited-{os.getpid()}"

    def as_account(*rights: str) -> None:
        admin.acl_setuser(name, enabled=True, reset=True, passwords=["+secret"])
        admin.execute_command("ACL", "SETUSER", name, *rights)
        parts = urlsplit(url)
        settings.REDIS_URL = parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}").geturl()
        redis_client.of.cache_clear()

    yield as_account
    redis_client.of.cache_clear()
    admin.acl_deluser(name)
    admin.close()


Read = Callable[..., dict[str, Any]]

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
    "OPERATORS_SECOND_FACTOR": "optional",
    "METRICS_TOKEN": secrets.token_urlsafe(32),
    "STATE_DIR": "/tmp",
    "STORAGE_DIR": "/tmp",
    "MODASH_BRANDS_PATH": "/brands",
    "OUTBOUND_PORTS": "80,8080",
    "OUTBOUND_ALLOW": "127.0.0.0/8,::1/128",
    "PROXIES": "10.0.0.0/8,fd00::/8",
    "WEBHOOK_PAUSES": "1,2.5",
    "LOG_LEVEL": "WARNING",
    "SANDBOX_ONE_ACCOUNT": "true",
    "KEYLESS": "false",
}
# Keys are given, so that none is made in a folder that only a test names.
KEYS = {name: SAMPLES[name] for name in ("SECRET_KEY", "CREDENTIAL_KEYS")}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads the settings with only these variables, the place of the state and, by default, keys."""

    def read(*, keys: bool = True, **given: str) -> dict[str, Any]:
        for name in set(configured.env.settings) - {"STATE_DIR"}:
            monkeypatch.delenv(name, raising=False)
        for name, value in ((KEYS if keys else {}) | given).items():
            monkeypatch.setenv(name, value)
        values = runpy.run_path(str(BASE_DIR / "config/settings.py"))
        return {name: value for name, value in values.items() if name.isupper() and name not in ("LOGGING", "T")}

    return read
