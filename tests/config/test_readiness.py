"""Tests that a ready service does what the system needs, and that one that refuses is named in one sentence without secrets."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from celery import current_app
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import Settings

from accounts import log_ins, redis_client
from accounts.models import Tenant
from accounts.web import rate_limits
from config import celery, database_functions, readiness
from providers import limiter
from providers.keyring.turns import Turn
from tests.bench.system import process
from tests.config.conftest import As
from tests.processes import wait_until

pytestmark = pytest.mark.django_db
# Commands that the parts send to Redis: the limiter, inside its scripts and beside them, the live updates, the broker.
COMMANDS = ["INFO", "TIME", "HSET", "HMGET", "ZADD", "ZREM", "ZSCORE", "ZREVRANGE", "EVALSHA", "SET", "PTTL", "GET"]
COMMANDS += ["PUBLISH", "SUBSCRIBE", "PSUBSCRIBE", "BRPOP", "LLEN"]
KEYS = sorted(redis_client.KEYS)


def test_an_account_with_all_rights_is_ready(as_account: As) -> None:
    as_account("~*", "&*", "+@all")
    assert readiness.redis_lacks() is None


@pytest.mark.parametrize("command", COMMANDS)
def test_an_account_that_lacks_a_command_is_not_ready(as_account: As, command: str) -> None:
    as_account("~*", "&*", "+@all", f"-{command.lower()}")
    assert readiness.redis_lacks() == f"Redis does not let this account run {command}; Sightline needs it."


@pytest.mark.parametrize("keys", KEYS)
def test_an_account_that_lacks_some_keys_is_not_ready(as_account: As, keys: str) -> None:
    as_account(*(f"~{each}*" for each in KEYS if each != keys), "&*", "+@all")
    assert f"use all keys that Sightline needs; grant it ~{KEYS[0]}*" in (readiness.redis_lacks() or "")


def test_an_account_with_what_the_sentence_names_is_ready(as_account: As) -> None:
    as_account("resetkeys", "resetchannels", "+@all")
    granted = (readiness.redis_lacks() or "").partition("grant it ")[2].rstrip(".").split()
    as_account(*granted, "+@all")
    assert readiness.redis_lacks() is None
    for missing in granted:
        as_account(*(each for each in granted if each != missing), "+@all")
        assert "that Sightline needs; grant it" in (readiness.redis_lacks() or ""), missing


def test_the_named_rights_are_enough_and_no_key_is_outside_them(as_account: As) -> None:
    with redis.Redis.from_url(django_settings.REDIS_URL) as everything:
        # From then on Celery thinks that the queue is bound, which the flush undoes.
        assert readiness.redis_lacks() is None
        everything.flushdb()
        as_account(*readiness.rights(), "+@all")
        tenant = Tenant(id=uuid4(), name="Dora")
        rate_limits.key_check(tenant)
        turn = Turn(lane=str(uuid4()), tenant_id=tenant.pk, call="1")
        assert turn.has_come()
        one = log_ins._Try("dora", "192.0.2.1")
        one.count()
        one.succeeded()
        limiter.rest_account("a key", seconds=60)
        current_app.send_task("searches.tasks.sweep_lanes", queue="readiness")
        assert readiness.redis_lacks() is None
        kept = {key.decode() for key in everything.scan_iter()}
        everything.flushdb()
    # The check took its own message, and left the other.
    assert "celery:readiness" in kept
    assert {key for key in kept if not key.startswith(tuple(KEYS))} == set()
    assert {prefix for prefix in KEYS if not any(key.startswith(prefix) for key in kept)} == set()


def test_every_module_that_asks_redis_has_declared_its_keys_when_readiness_looks() -> None:
    asks = {
        path.relative_to(django_settings.BASE_DIR).with_suffix("").as_posix().replace("/", ".")
        for app in ("accounts", "providers", "billing", "searches", "config")
        for path in (django_settings.BASE_DIR / app).rglob("*.py")
        if "redis_client.of(" in (text := path.read_text()) or "redis_client.keys(" in text
    }
    assert asks == {module.__name__ for module in readiness.KEEP_IN_REDIS}


@pytest.mark.django_db(transaction=True)
def test_a_worker_with_the_named_rights_receives_control_messages(
    as_account: As, settings: Settings, tmp_path: Path
) -> None:
    as_account(*readiness.rights(), "+@all")
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-n", "granted@test", "-Q", "granted"]
    quiet = ("--without-gossip", "--without-mingle", "--pool", "threads", "-c", "1")
    database = os.environ["DATABASE_URL"].replace("/app?", f"/{connection.settings_dict['NAME']}?")
    with process(*command, *quiet, log=tmp_path / "worker.log", DATABASE_URL=database, REDIS_URL=settings.REDIS_URL):
        wait_until(lambda: bool(current_app.control.ping(destination=["granted@test"], timeout=0.5)))
    assert "does not let" not in (tmp_path / "worker.log").read_text()


def test_an_account_that_lacks_the_channels_is_not_ready(as_account: As) -> None:
    as_account("~*", "resetchannels", "+@all")
    assert "use all channels" in (readiness.redis_lacks() or "")


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
        (
            "The user executing the script can't run this command or subcommand script: caf06bc, on @user_script:94.",
            "Redis does not let this account run a command that Sightline's scripts need; grant it +@all.",
        ),
        ("something secret", "Redis refuses what Sightline needs."),
    ],
)
def test_what_redis_refuses_is_said_in_our_own_words(said: str, sentence: str) -> None:
    assert readiness.said_by_redis(redis.ResponseError(said)) == sentence


def test_a_session_with_another_setting_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL default_transaction_isolation = 'serializable'")
    assert readiness.database_lacks() == (
        "The database session has default_transaction_isolation = serializable, and needs read committed."
    )


def test_a_function_that_is_not_there_is_named() -> None:
    name = database_functions.names("FUNCTION")[0]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER FUNCTION {name} RENAME TO elsewhere")
    assert readiness.database_lacks() == f"The database lacks the function {name}, or does not let this role call it."


@pytest.mark.parametrize("change", ["ALTER TABLE billing_entry DISABLE TRIGGER {}", "DROP TRIGGER {} ON billing_entry"])
def test_a_trigger_that_is_not_there_or_switched_off_is_named(change: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(change.format("ledger_is_append_only"))
    assert readiness.database_lacks() == (
        "The database lacks the trigger ledger_is_append_only, or it is switched off; run `manage.py migrate`."
    )


def test_a_view_that_is_not_there_is_named_at_the_start_and_may_be_replaced_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert readiness.database_lacks() is None
    with connection.cursor() as cursor:
        cursor.execute("DROP VIEW billing_trial_balance")
    assert readiness.database_lacks() is None
    monkeypatch.setattr(readiness, "_saw_views", False)
    assert readiness.database_lacks() == (
        "The database lacks the view billing_trial_balance, or does not let this role read it; run `manage.py migrate`."
    )


def test_a_table_that_may_not_be_written_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("REVOKE INSERT ON billing_entry FROM CURRENT_USER")
    assert "this role read and write the table billing_entry" in (readiness.database_lacks() or "")


def test_a_transaction_that_only_reads_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    assert readiness.database_lacks() == "The PostgreSQL at this address only reads: it is a standby, or in recovery."


def test_the_check_leaves_no_row() -> None:
    assert readiness.database_lacks() is None
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_session")
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_a_worker_logs_at_its_start_what_is_lacking(as_account: As, caplog: pytest.LogCaptureFixture) -> None:
    as_account("~*", "&*", "+@all", "-info")
    readiness._known = None
    celery.say_what_is_lacking()
    assert "Redis does not let this account run INFO" in caplog.text
