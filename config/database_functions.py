"""Installs the database functions, triggers and views from their `.sql` files after every `migrate`.

A migration is applied once, so a function inside it keeps the body of that day on every older database. Here each file is the
only source: what is installed equals it after every `migrate`. An app lists its files in `AppConfig.database_functions`.
A function that no file defines any more is dropped by a migration.

`CREATE OR REPLACE` keeps a function's identity, so that statements under way in other processes go on. It cannot change a
signature: then the function is dropped and created.

A view is replaced too, and dropped first if its columns are others. It would also keep migrations from changing the columns that
it reads, so views are dropped before a `migrate` that has something to apply, and are back after it.

Replacing a trigger locks its table against writes, and may wait for, or deadlock with, whatever writes there. A trigger that is
as its file defines it is therefore left alone (its comment says what was installed), and one that must be replaced waits for
`LOCK_SECONDS` at most, in a transaction of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.db import ProgrammingError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

DEFINITION = re.compile(r"^CREATE OR REPLACE (FUNCTION|TRIGGER|VIEW) (\w+).*?(?=^CREATE |\Z)", re.MULTILINE | re.DOTALL)
# SQLSTATE of a return type, or a parameter's name or default, that CREATE OR REPLACE may not change.
INVALID_FUNCTION_DEFINITION = "42P13"
# SQLSTATE of columns of a view that CREATE OR REPLACE may not change.
INVALID_VIEW_DEFINITION = "42P16"
# The number of the advisory lock under which one `migrate` at a time installs.
LOCK = 7301203
# A `migrate` that cannot lock a table in this time fails, and may be run again. Writers queue behind it meanwhile.
LOCK_SECONDS = 5
TRIGGER = """
    SELECT tgrelid::regclass::text, pg_get_triggerdef(oid), obj_description(oid, 'pg_trigger') FROM pg_trigger
    WHERE tgname = %s AND tgenabled = 'O'
        AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace)
"""
OVERLOADS = """
    SELECT oid::regprocedure::text FROM pg_proc WHERE proname = %s AND pronamespace = current_schema()::regnamespace
"""


def install(sender: AppConfig, using: str = "default", plan: Any = None, **_: Any) -> None:
    """Installs the app's functions where all migrations are applied. `flush` sends the signal without a plan, and needs none."""
    if plan is None or not files(sender) or not is_migrated(connections[using]):
        return
    for kind, name, statement in definitions(sender):
        with transaction.atomic(using), connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            if kind == "TRIGGER":
                _install_trigger(cursor, name, statement)
            elif kind == "VIEW":
                _install_view(cursor, using, name, statement)
            else:
                _install_function(cursor, using, name, statement)


def drop_views(sender: AppConfig, using: str = "default", plan: Any = None, **_: Any) -> None:
    """Drops the app's views where migrations are about to be applied."""
    if not plan:
        return
    with connections[using].cursor() as cursor:
        for kind, name, _statement in definitions(sender):
            if kind == "VIEW":
                cursor.execute(f"DROP VIEW IF EXISTS {name} CASCADE")


def is_migrated(connection: BaseDatabaseWrapper) -> bool:
    """Returns whether all migrations are applied."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def names(kind: str) -> list[str]:
    """Returns the names of the functions, triggers or views of all apps."""
    defined = (definition for app in apps.get_app_configs() for definition in definitions(app))
    return sorted({name for of_kind, name, _ in defined if of_kind == kind})


def files(app: AppConfig) -> list[Path]:
    return [Path(app.path) / name for name in getattr(app, "database_functions", ())]


def definitions(app: AppConfig) -> Iterator[tuple[str, str, str]]:
    """Yields FUNCTION, TRIGGER or VIEW, the name and the statement of each definition, in the order of the files."""
    for file in files(app):
        for found in DEFINITION.finditer(file.read_text()):
            yield found[1], found[2], found[0]


def _install_view(cursor: Any, using: str, name: str, statement: str) -> None:
    """Replaces the view, or drops and creates it where its columns are others. Views that read it follow it in the files."""
    try:
        with transaction.atomic(using):
            cursor.execute(statement)
    except ProgrammingError as error:
        if getattr(error.__cause__, "sqlstate", None) != INVALID_VIEW_DEFINITION:
            raise
        cursor.execute(f"DROP VIEW {name} CASCADE")
        cursor.execute(statement)


def _install_function(cursor: Any, using: str, name: str, statement: str) -> None:
    """Replaces the function, or drops and creates it where its signature is another: no two of a name are left."""
    try:
        with transaction.atomic(using):
            cursor.execute(statement)
    except ProgrammingError as error:
        if getattr(error.__cause__, "sqlstate", None) != INVALID_FUNCTION_DEFINITION:
            raise
    else:
        if len(_overloads(cursor, name)) == 1:
            return
    for signature in _overloads(cursor, name):
        cursor.execute(f"DROP FUNCTION {signature}")
    cursor.execute(statement)


def _install_trigger(cursor: Any, name: str, statement: str) -> None:
    """Replaces the trigger, unless it was installed from this very statement and has not been changed since."""
    if _is_installed(cursor, name, statement):
        return
    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    cursor.execute(statement)
    cursor.execute(TRIGGER, [name])
    table, definition, _ = cursor.fetchone()
    cursor.execute(f"COMMENT ON TRIGGER {name} ON {table} IS '{_comment(statement, definition)}'")


def _is_installed(cursor: Any, name: str, statement: str) -> bool:
    """Returns whether the trigger is as the statement defines it, and switched on."""
    cursor.execute(TRIGGER, [name])
    return any(comment == _comment(statement, definition) for _, definition, comment in cursor.fetchall())


def _comment(statement: str, definition: str) -> str:
    """Returns the comment of a trigger: a digest of its statement, and of the definition that the database made of it."""
    return hashlib.sha256(f"{statement}\n{definition}".encode()).hexdigest()


def _overloads(cursor: Any, name: str) -> list[str]:
    cursor.execute(OVERLOADS, [name])
    return [signature for (signature,) in cursor.fetchall()]
