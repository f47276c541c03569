"""Installs the database functions and triggers from their `.sql` files after every `migrate`.

A migration is applied once, so a function inside it keeps the body of that day on every older database. Here each file is the
only source: what is installed equals it after every `migrate`. An app lists its files in `AppConfig.database_functions`.
A function that no file defines any more is dropped by a migration.

`CREATE OR REPLACE` keeps a function's identity, so that statements under way in other processes go on. It cannot change a
signature: then the function is dropped and created. Replacing a trigger locks its table against writes for some milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.db import ProgrammingError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

DEFINITION = re.compile(r"^CREATE OR REPLACE (FUNCTION|TRIGGER) (\w+).*?(?=^CREATE |\Z)", re.MULTILINE | re.DOTALL)
# SQLSTATE of a return type, or a parameter's name or default, that CREATE OR REPLACE may not change.
INVALID_FUNCTION_DEFINITION = "42P13"
# The number of the advisory lock under which one `migrate` at a time installs.
LOCK = 7301203
OVERLOADS = """
    SELECT oid::regprocedure::text FROM pg_proc WHERE proname = %s AND pronamespace = current_schema()::regnamespace
"""


def install(sender: AppConfig, using: str = "default", plan: Any = None, **_: Any) -> None:
    """Installs the app's functions where all migrations are applied. `flush` sends the signal without a plan, and needs none."""
    if plan is None or not files(sender) or not is_migrated(connections[using]):
        return
    with transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        for kind, name, statement in definitions(sender):
            if kind == "TRIGGER":
                cursor.execute(statement)
            else:
                _install_function(cursor, using, name, statement)


def is_migrated(connection: BaseDatabaseWrapper) -> bool:
    """Returns whether all migrations are applied."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def names() -> list[str]:
    """Returns the names of the functions of all apps."""
    defined = (definition for app in apps.get_app_configs() for definition in definitions(app))
    return sorted({name for kind, name, _ in defined if kind == "FUNCTION"})


def files(app: AppConfig) -> list[Path]:
    return [Path(app.path) / name for name in getattr(app, "database_functions", ())]


def definitions(app: AppConfig) -> Iterator[tuple[str, str, str]]:
    """Yields FUNCTION or TRIGGER, the name and the statement of each definition, in the order of the files."""
    for file in files(app):
        for found in DEFINITION.finditer(file.read_text()):
            yield found[1], found[2], found[0]


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


def _overloads(cursor: Any, name: str) -> list[str]:
    cursor.execute(OVERLOADS, [name])
    return [signature for (signature,) in cursor.fetchall()]
