"""Finds what this process lacks to serve requests, in sentences for the operator.

A server can answer and still refuse: a standby only reads, an account may lack one command, a role one right. Each part is
therefore tried the way the system uses it: a row is written and rolled back, the limiter's scripts and the broker's queue are
run under a name of their own. No sentence quotes a server's own words, which could contain addresses and names.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

import redis
from celery import current_app
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from accounts import log_ins, redis_client
from accounts.web import rate_limits
from accounts.webhooks import delivery_limits
from config import database_functions
from config.postgresql import session
from config.postgresql.base import ONLY_READS
from providers import limiter
from providers.keyring import turns
from providers.limiter import LaneLimiter, Rate, TokenRefused, Unavailable
from searches.lanes import wakeups
from searches.lifecycle import live_updates

# Seconds for which one answer serves all callers, among them strangers.
FRESH_SECONDS = 1.0
# Name of a lane, a queue and a channel that nothing else uses.
PROBE = "readiness"
RATE = Rate(calls=1, window_us=1000, guard_us=0)
REFUSED_BY_POSTGRESQL = {
    "25006": ONLY_READS,
    "53100": "The database's disk is full.",
    "53300": "The database has as many connections as it takes.",
    "42501": "The database does not give this role the rights that it needs: it reads and writes every table.",
}
REFUSED_BY_REDIS = {
    "READONLY": "Redis only reads: it is a replica.",
    "OOM": "Redis is full, and takes no writes.",
    "MISCONF": "Redis cannot save its data, and takes no writes.",
    "NOREPLICAS": "Redis lacks replicas, and takes no writes.",
    "MASTERDOWN": "Redis is a replica that has lost its master.",
    "CLUSTERDOWN": "The Redis cluster is down.",
    "CROSSSLOT": "Redis is a cluster, and Sightline needs one that is none.",
    "LOADING": "Redis is loading its data.",
    "BUSY": "Redis is busy with a script.",
}
# These modules declare their keys in Redis when they are imported.
KEEP_IN_REDIS = (live_updates, delivery_limits, limiter, log_ins, wakeups, rate_limits, turns)
# Redis 7.0 does not name the command that a script may not run.
IN_A_SCRIPT = "The user executing the script can't run this command"
# The only words of a server that are quoted: the name of a command that the account may not run.
COMMAND = re.compile(r"'([\w|-]{1,40})' command|[Uu]nknown (?:Redis )?command[:,]? [`']([\w|-]{1,40})['`]")
RIGHTS = """
    SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL
    OR NOT (has_table_privilege(name, 'SELECT') AND has_table_privilege(name, 'INSERT'))
"""
FUNCTIONS = """
    SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS (
        SELECT FROM pg_proc
        WHERE proname = name AND pg_function_is_visible(oid) AND has_function_privilege(oid, 'EXECUTE')
    )
"""
TRIGGERS = """
    SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgname = name AND tgenabled IN ('O', 'A') AND pg_table_is_visible(tgrelid)
    )
"""
VIEWS = """
    SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS (
        SELECT FROM pg_class
        WHERE relname = name AND relkind = 'v' AND pg_table_is_visible(oid) AND has_table_privilege(oid, 'SELECT')
    )
"""
_lock = threading.Lock()
_known: tuple[float, list[str]] | None = None
_migrated = False
_saw_views = False


def lacking() -> list[str]:
    """Returns a sentence for each thing that this process lacks; none if it is ready."""
    global _known
    with _lock:
        if _known is None or time.monotonic() - _known[0] > FRESH_SECONDS:
            lacks = [sentence for sentence in (database_lacks(), redis_lacks()) if sentence]
            _known = time.monotonic(), lacks
        return _known[1]


def database_lacks() -> str | None:
    try:
        if not migrated():
            return "The database lacks migrations; run `manage.py migrate`."
        if lacks := _session_lacks() or _schema_lacks():
            return lacks
        _write()
    except DatabaseError as error:
        return _said_by_postgresql(error)
    except InterfaceError:
        return "The database does not answer."
    return None


def migrated() -> bool:
    """Returns whether all migrations are applied. They stay applied while this code runs, so a yes is remembered."""
    global _migrated
    if not _migrated:
        _migrated = database_functions.is_migrated(connection)
    return _migrated


def _session_lacks() -> str | None:
    """Checks the session settings, which a pooler between us and the server may have lost."""
    wanted = {**session.REQUIRED, "session_replication_role": "origin"}
    rows = _rows("SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", list(wanted))
    for name, value in rows:
        if value != wanted[name]:
            return f"The database session has {name} = {value}, and needs {wanted[name]}."
    return None


def _schema_lacks() -> str | None:
    ours = [model._meta.db_table for model in apps.get_models() if model._meta.managed]
    if tables := _rows(RIGHTS, ours):
        return f"The database does not let this role read and write the table {tables[0][0]}."
    if functions := _rows(FUNCTIONS, database_functions.names("FUNCTION")):
        return f"The database lacks the function {functions[0][0]}, or does not let this role call it."
    if triggers := _rows(TRIGGERS, database_functions.names("TRIGGER")):
        return f"The database lacks the trigger {triggers[0][0]}, or it is switched off; run `manage.py migrate`."
    return _views_lack()


def _views_lack() -> str | None:
    """Checks the views until they were there once: a later `migrate` drops them for a while, and no request reads them."""
    global _saw_views
    if not _saw_views and (views := _rows(VIEWS, database_functions.names("VIEW"))):
        return f"The database lacks the view {views[0][0]}, or does not let this role read it; run `manage.py migrate`."
    _saw_views = True
    return None


def _write() -> None:
    """Writes a row and rolls it back."""
    with transaction.atomic():
        Session.objects.create(session_key=uuid4().hex, session_data="", expire_date=timezone.now())
        transaction.set_rollback(True)


def _rows(statement: str, values: list[str]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [values])
        rows: list[Any] = cursor.fetchall()
        return rows


def _said_by_postgresql(error: DatabaseError) -> str:
    if ONLY_READS in str(error):
        return ONLY_READS
    code = getattr(error.__cause__, "sqlstate", None) or ""
    if isinstance(error, OperationalError) and code not in REFUSED_BY_POSTGRESQL:
        return "The database does not answer."
    return REFUSED_BY_POSTGRESQL.get(code, f"The database refuses what Sightline needs (SQLSTATE {code or 'unknown'}).")


def redis_lacks() -> str | None:
    try:
        _try_keys()
        _try_updates()
        rate_limits.probe(PROBE)
        delivery_limits.probe(PROBE)
        _try_limiter()
        _try_broker()
    except (Unavailable, BrokerError) as error:
        return said_by_redis(error.__cause__ or error)
    except (redis.RedisError, OSError) as error:
        return said_by_redis(error)
    return None


def _try_keys() -> None:
    """Writes and reads a key with each prefix, because a right to some keys is no right to the others."""
    name = str(uuid4())
    for prefix in sorted(redis_client.KEYS):
        live_updates.client().set(f"{prefix}{name}", "", px=100)
        live_updates.client().get(f"{prefix}{name}")


def _try_updates() -> None:
    client = live_updates.client()
    for prefix in sorted(redis_client.CHANNELS):
        client.publish(f"{prefix}{PROBE}", "")
    with client.pubsub() as messages:
        messages.subscribe(live_updates.channel(PROBE))
        messages.psubscribe(_orders())
        for _ in range(2):
            # A refusal is raised here. Silence counts as one too.
            if messages.get_message(timeout=settings.REDIS_TIMEOUT_SECONDS) is None:
                raise redis.TimeoutError


def _orders() -> str:
    """Returns the channel of Celery's control messages. Celery subscribes to it as a pattern, and Redis lets an account
    subscribe only to a pattern that its rights name literally, not to one within a wider pattern.
    """
    database = live_updates.client().get_connection_kwargs().get("db", 0)
    control: Any = current_app.control
    return f"{wakeups.KEY_PREFIX}/{database}.{control.mailbox.exchange.name}"


def rights() -> list[str]:
    """Returns the keys and channels that an account of Redis needs, as its rights name them."""
    keys = [f"~{prefix}*" for prefix in sorted(redis_client.KEYS)]
    return [*keys, *(f"&{prefix}*" for prefix in sorted(redis_client.CHANNELS)), f"&{_orders()}"]


def _try_limiter() -> None:
    """Runs each operation of the limiter's scripts, as the lane of one call would."""
    name, lane = str(uuid4()), LaneLimiter(lane=PROBE, rate=RATE, max_in_flight=1000)
    waiter = lane.waiter(name, broker_queue=f"{wakeups.KEY_PREFIX}{PROBE}")
    waiter.reserve()
    waiter.acquire()
    waiter.reacquire()
    waiter.start(seconds=1)
    with suppress(TokenRefused):
        waiter.redeem(name)
        waiter.confirm(name)
    waiter.postpone(name, 0)
    lane.revoke(name, age_seconds=0)
    lane.pause(seconds=0)
    lane.resume()
    limiter.rest_account(PROBE, seconds=0.001)
    limiter.account_rests_for(PROBE)
    waiter.release()


def _try_broker() -> None:
    """Puts a message into a queue as the web server does, and takes it as a worker does."""
    with current_app.producer_pool.acquire(block=True, timeout=settings.REDIS_TIMEOUT_SECONDS) as producer:
        queue = current_app.amqp.queues.new_missing(PROBE)
        producer.publish("", routing_key=PROBE, exchange="", declare=[queue], retry=False)
    key = f"{wakeups.KEY_PREFIX}{PROBE}"
    live_updates.client().llen(key)
    live_updates.client().brpop([key], timeout=0.01)


def said_by_redis(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, redis.AuthenticationError):
        return "Redis refuses the password in REDIS_URL."
    if "max number of clients" in text:
        return "Redis has as many clients as it takes."
    if "NOPERM" in text or "ermission" in text or IN_A_SCRIPT in text or COMMAND.search(text):
        return _forbidden(text)
    for word, sentence in REFUSED_BY_REDIS.items():
        if re.search(rf"\b{word}\b", text) or word in type(error).__name__.upper():
            return sentence
    refused = isinstance(error, redis.ResponseError)
    return "Redis refuses what Sightline needs." if refused else "Redis does not answer."


def _forbidden(text: str) -> str:
    if found := COMMAND.search(text):
        return f"Redis does not let this account run {(found[1] or found[2]).upper()}; Sightline needs it."
    if IN_A_SCRIPT in text:
        return "Redis does not let this account run a command that Sightline's scripts need; grant it +@all."
    kind = "channels" if "channel" in text else "keys"
    return f"Redis does not let this account use all {kind} that Sightline needs; grant it {' '.join(rights())}."
