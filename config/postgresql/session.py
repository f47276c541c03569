"""Holds the session settings that the code needs, whatever the defaults of the role, the database and the server are.

All of them are in the `options` of the connection, which hold before the first statement. The required ones are set once more
on a new connection, because libpq's environment variables (PGDATESTYLE) and the `options` of DATABASE_URL would win over the
former.
"""

from __future__ import annotations

from typing import Any

# DATABASE_URL may say otherwise in its `options`.
PREFERRED: dict[str, str] = {
    # A client that hangs in a transaction, or whose machine is gone, loses its locks, so that a lane does not wait for it.
    "idle_in_transaction_session_timeout": "5s",
    # Statements are parsed once a connection, which halves their cost for the server. Each is still planned for its own values: a
    # plan that was made for an empty queue would otherwise be kept for a queue of a million.
    "plan_cache_mode": "force_custom_plan",
    "search_path": '"$user", public',
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
}
REQUIRED: dict[str, str] = {
    # Every lock and conditional update must see what was committed before it.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    # How psycopg writes and reads values.
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "row_security": "on",
    "exit_on_error": "off",
}
# PostgreSQL 17 and newer have these. An older one refuses a connection whose options name them.
NEWER: dict[str, str] = {"transaction_timeout": "0"}
SET = """
    SELECT set_config(name, wanted, false) FROM unnest(%s::text[], %s::text[]) AS setting (name, wanted)
    WHERE current_setting(name, true) IS DISTINCT FROM wanted AND current_setting(name, true) IS NOT NULL
"""


def options(given: str = "") -> str:
    """Returns libpq's `options`: the preferred settings, then the given ones, then the required ones. The last one wins."""
    return " ".join(filter(None, [_switches(PREFERRED), given, _switches(REQUIRED)]))


def configure(connection: Any) -> None:
    """Sets what must hold on a new connection, in one statement."""
    wanted = REQUIRED | NEWER
    with connection.cursor() as cursor:
        cursor.execute(SET, [list(wanted), list(wanted.values())])


def _switches(settings: dict[str, str]) -> str:
    return " ".join(f"-c {name}=" + value.replace(" ", r"\ ") for name, value in settings.items())
