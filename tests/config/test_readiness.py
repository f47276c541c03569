"""What is ready does what the system needs; what answers and refuses is named in one sentence, with no secret in it."""

from __future__ import annotations

import pytest
import redis
from django.db import connection
from pytest_django import Settings

from accounts import redis_client
from config import celery, readiness
from tests.config.conftest import As

pytestmark = pytest.mark.django_db
# What the parts ask of Redis: the limiter inside its script and beside it, the live updates, the broker.
COMMANDS = ["INFO", "TIME", "HSET", "HMGET", "ZADD", "ZREM", "ZSCORE", "ZREVRANGE", "EVALSHA", "SET", "PTTL", "GET"]
COMMANDS += ["PUBLISH", "SUBSCRIBE", "PSUBSCRIBE", "BRPOP", "LLEN"]
KEYS = ["lane:*", "celery:*", "resting:*", "rate:*"]


def test_an_account_with_all_rights_is_ready(as_account: As) -> None:
    as_account("~*", "&*", "+@all")
    assert readiness.redis_lacks() is None


@pytest.mark.parametrize("command", COMMANDS)
def test_an_account_that_lacks_a_command_is_not_ready(as_account: As, command: str) -> None:
    as_account("~*", "&*", "+@all", f"-{command.lower()}")
    assert readiness.redis_lacks() == f"Redis does not let this account run {command}; Sightline needs it."


@pytest.mark.parametrize("keys", KEYS)
def test_an_account_that_lacks_some_keys_is_not_ready(as_account: As, keys: str) -> None:
    as_account(*(f"~{each}" for each in KEYS if each != keys), "&*", "+@all")
    assert "use the keys" in (readiness.redis_lacks() or "")


def test_an_account_that_lacks_the_channels_is_not_ready(as_account: As) -> None:
    as_account("~*", "resetchannels", "+@all")
    assert "use the channels" in (readiness.redis_lacks() or "")


def test_a_password_that_is_refused_is_named(as_account: As, settings: Settings) -> None:
    as_account("~*", "&*", "+@all")
    settings.REDIS_URL = settings.REDIS_URL.replace("secret", "another")
    redis_client.of.cache_clear()
    assert readiness.redis_lacks() == "Redis refuses the password in REDIS_URL."


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("READONLY You can't write against a read only replica.", "Redis only reads: it is a replica."),
        ("OOM command not allowed when used memory > 'maxmemory'.", "Redis is full, and takes no writes."),
        ("MISCONF Redis is configured to save RDB snapshots", "Redis cannot save its data, and takes no writes."),
        ("MASTERDOWN Link with MASTER is down", "Redis is a replica that has lost its master."),
        ("max number of clients reached", "Redis has as many clients as it takes."),
        (
            "unknown command 'INFO', with args beginning with:",
            "Redis does not let this account run INFO; Sightline needs it.",
        ),
        ("something secret", "Redis refuses what Sightline needs."),
    ],
)
def test_what_redis_refuses_is_said_in_our_own_words(said: str, sentence: str) -> None:
    assert readiness.said_by_redis(redis.ResponseError(said)) == sentence


def test_a_session_that_is_not_what_was_asked_for_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL default_transaction_isolation = 'serializable'")
    assert readiness.database_lacks() == (
        "The database session has default_transaction_isolation = serializable, and needs read committed."
    )


def test_a_function_that_is_not_there_is_named() -> None:
    name = readiness.functions_of_the_code()[0]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER FUNCTION {name} RENAME TO elsewhere")
    assert readiness.database_lacks() == f"The database lacks the function {name}, or does not let this role call it."


def test_a_table_that_may_not_be_written_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("REVOKE INSERT ON billing_entry FROM CURRENT_USER")
    assert "this role read and write the table billing_entry" in (readiness.database_lacks() or "")


def test_a_transaction_that_only_reads_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    assert readiness.database_lacks() == "The PostgreSQL at this address only reads: it is a standby, or in recovery."


def test_a_look_leaves_nothing_behind() -> None:
    assert readiness.database_lacks() is None
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_session")
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_starts_says_what_is_lacking(as_account: As, caplog: pytest.LogCaptureFixture) -> None:
    as_account("~*", "&*", "+@all", "-info")
    readiness.forget()
    celery.say_what_is_lacking()
    assert "Redis does not let this account run INFO" in caplog.text
