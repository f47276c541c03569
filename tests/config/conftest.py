"""A Redis account with some rights, which Redis knows this process as."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import redis
from pytest_django import Settings

from accounts import redis_client

As = Callable[..., None]


@pytest.fixture
def as_account(settings: Settings) -> Iterator[As]:
    """Makes Redis know this process as an account with those rights."""
    url = settings.REDIS_URL
    admin = redis.Redis.from_url(url)

    def as_account(*rights: str) -> None:
        admin.acl_setuser("limited", enabled=True, reset=True, passwords=["+secret"])
        admin.execute_command("ACL", "SETUSER", "limited", *rights)  # type: ignore[no-untyped-call]
        parts = urlsplit(url)
        settings.REDIS_URL = parts._replace(netloc=f"limited:secret@{parts.hostname}:{parts.port}").geturl()
        redis_client.of.cache_clear()

    yield as_account
    redis_client.of.cache_clear()
    admin.acl_deluser("limited")
    admin.close()
