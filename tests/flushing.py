"""Empties the database after a test that committed: deletes the rows of those tables that have some.

Django truncates all fifty tables with their indexes, though a test writes into few and writes few rows. It then sends what
follows a migration, for which every app asks again which content types and permissions there are. These stay here, for no test
changes them. A table that lets no row be deleted is truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accounts import roles
from billing import price_defaults

KEPT = {"django_content_type", "auth_permission"}
# Foreign keys are looked at in the end, so that the order of the tables does not matter.
EMPTY = """
DO $$
DECLARE
    name text;
    is_filled boolean;
BEGIN
    SET CONSTRAINTS ALL DEFERRED;
    FOREACH name IN ARRAY ARRAY[{tables}] LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO is_filled;
        CONTINUE WHEN NOT is_filled;
        IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = name::regclass AND NOT tgisinternal AND tgtype & 8 > 0) THEN
            EXECUTE format('TRUNCATE %I CASCADE', name);
        ELSE
            EXECUTE format('DELETE FROM %I', name);
        END IF;
    END LOOP;
END $$
"""


def sql_flush(operations: Any, style: Any, tables: Sequence[str], **_: Any) -> list[str]:
    """Returns the statements of `flush`, in the place of Django's own."""
    return [EMPTY.format(tables=", ".join(f"'{table}'" for table in sorted(set(tables) - KEPT)))]


def make_rows_of_migrate(*_: Any, **__: Any) -> None:
    """Makes the rows that a migration makes and a flush has deleted."""
    price_defaults.seed()
    roles.make_groups()
