"""Refuses tables that an older version made, with a sentence instead of the first statement that fails on them.

Until the first release each app has one migration, which is edited in place. Django counts it as applied where an earlier text of
it was, and changes nothing. From the first release on, migrations are added instead, and `migrate` converts the tables.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from config import database_functions
from config.embedded import state

COLUMNS = """
    SELECT attrelid::regclass::text, attname, attnotnull AND NOT atthasdef AND attidentity = ''
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND attnum > 0 AND NOT attisdropped
"""
NAMES = """
    SELECT conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
    UNION SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()
"""


def refuse(sender: Any, using: str = "default", plan: Any = None, **_: Any) -> None:
    """Raises `CommandError` after a `migrate` that leaves tables other than those of the models."""
    connection = connections[using]
    if plan is None or not database_functions.is_migrated(connection):
        return
    if found := difference(connection):
        raise CommandError(f"DATABASE_URL: an older version made these tables: {found}. {_mend()}")


def difference(connection: BaseDatabaseWrapper) -> str | None:
    """Returns the first table, column, index or constraint in which models and database differ."""
    columns: dict[str, dict[str, bool]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS)
        for table, column, is_required in cursor.fetchall():
            columns[table][column] = is_required
        cursor.execute(NAMES)
        names = {name for (name,) in cursor.fetchall()}
    return next((found for model in _models() if (found := _of(model, columns, names))), None)


def _of(model: type[Model], columns: dict[str, dict[str, bool]], names: set[str]) -> str | None:
    table = model._meta.db_table
    there = columns[table]
    if not there:
        return f"there is no {table}"
    wanted = {str(field.column) for field in model._meta.local_concrete_fields}
    declared = {str(each.name) for each in (*model._meta.constraints, *model._meta.indexes)}
    if lacking := sorted(wanted - there.keys()) or sorted(declared - names):
        return f"{table} lacks {lacking[0]}"
    if surplus := sorted(column for column, is_required in there.items() if is_required and column not in wanted):
        return f"{table} requires {surplus[0]}"
    return None


def _models() -> list[type[Model]]:
    ours = (app for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR)
    return [model for app in ours for model in app.get_models(include_auto_created=True) if model._meta.managed]


def _mend() -> str:
    if settings.PRODUCTION:
        return "Before the first release no tables are converted: make a new database."
    folder = state.folder(os.environ, state.account_or_ours())
    mend = f"remove {folder}, or make a new database where DATABASE_URL names one of yours, and start again."
    return f"Before the first release no tables are converted: {mend}"
