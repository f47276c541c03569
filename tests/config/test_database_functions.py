"""`migrate` alone installs in any database exactly the functions, triggers and views that the `.sql` files define."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from config import database_functions, readiness

pytestmark = pytest.mark.django_db
INSTALLED = """
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = ANY (%s)
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = ANY (%s)
    UNION ALL SELECT pg_get_viewdef(oid) FROM pg_class WHERE relname = ANY (%s) ORDER BY 1
"""
DEFINITIONS = [each for app in apps.get_app_configs() for each in database_functions.definitions(app)]
FUNCTIONS = [name for kind, name, _ in DEFINITIONS if kind == "FUNCTION"]
TRIGGERS = [name for kind, name, _ in DEFINITIONS if kind == "TRIGGER"]
VIEWS = [name for kind, name, _ in DEFINITIONS if kind == "VIEW"]
NOTHING_OF_OURS = [f"DROP VIEW {name}" for name in reversed(VIEWS)] + [
    f"DROP FUNCTION {name} CASCADE" for name in FUNCTIONS
]


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def installed() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(INSTALLED, [FUNCTIONS, TRIGGERS, VIEWS])
        return [definition for (definition,) in cursor.fetchall()]


def migrate() -> None:
    call_command("migrate", verbosity=0)


def test_the_installed_definitions_equal_the_files() -> None:
    before = installed()
    run(*NOTHING_OF_OURS)
    assert installed() == []
    run(*(statement for _, _, statement in DEFINITIONS))
    assert installed() == before
    assert len(before) == len(DEFINITIONS)


def test_no_name_is_defined_twice() -> None:
    assert len(FUNCTIONS) == len(set(FUNCTIONS))
    assert len(TRIGGERS) == len(set(TRIGGERS))
    assert len(VIEWS) == len(set(VIEWS))


def test_every_file_with_a_definition_is_declared_by_its_app() -> None:
    names = (app.name for app in apps.get_app_configs())
    folders = [folder for folder in (settings.BASE_DIR / name for name in names) if folder.is_dir()]
    found = {
        path for folder in folders for path in folder.rglob("*.sql") if re.search("^CREATE ", path.read_text(), re.M)
    }
    assert found == {path for app in apps.get_app_configs() for path in database_functions.files(app)}


def test_every_definition_in_a_file_is_installed() -> None:
    texts = [path.read_text() for app in apps.get_app_configs() for path in database_functions.files(app)]
    assert sum(len(re.findall("^CREATE ", text, re.M)) for text in texts) == len(DEFINITIONS)


def test_a_database_without_the_functions_gets_them() -> None:
    before = installed()
    run(*NOTHING_OF_OURS)
    assert readiness.database_lacks() is not None
    migrate()
    assert installed() == before
    assert readiness.database_lacks() is None


def test_a_database_with_an_older_body_gets_the_present_one() -> None:
    before = installed()
    run(
        "CREATE OR REPLACE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )
    assert installed() != before
    migrate()
    assert installed() == before


def test_a_database_with_an_older_trigger_gets_the_present_one() -> None:
    before = installed()
    run(
        "CREATE OR REPLACE TRIGGER ledger_is_append_only AFTER DELETE ON billing_entry EXECUTE FUNCTION ledger_is_append_only()"
    )
    assert installed() != before
    migrate()
    assert installed() == before


def test_a_trigger_that_was_switched_off_is_switched_on() -> None:
    run("ALTER TABLE billing_entry DISABLE TRIGGER ledger_is_append_only")
    assert readiness.database_lacks() is not None
    migrate()
    assert readiness.database_lacks() is None


@pytest.mark.parametrize("older", ["text) RETURNS text", "text[]) RETURNS boolean", "names text[]) RETURNS text"])
def test_a_database_with_another_signature_gets_the_present_one(older: str) -> None:
    before = installed()
    run(
        "DROP FUNCTION searches_status_of",
        f"CREATE FUNCTION searches_status_of({older} LANGUAGE plpgsql AS 'BEGIN END'",
    )
    migrate()
    assert installed() == before


def test_a_database_with_a_view_of_other_columns_gets_the_present_one() -> None:
    before = installed()
    run("DROP VIEW billing_posting CASCADE", "CREATE VIEW billing_posting AS SELECT 1 AS one, 2 AS two")
    migrate()
    assert installed() == before


def test_views_are_out_of_the_way_of_migrations() -> None:
    """PostgreSQL changes no column that a view reads."""
    before = installed()
    for app in apps.get_app_configs():
        database_functions.drop_views(app, plan=["a migration"])
    run("ALTER TABLE billing_entry ALTER COLUMN amount TYPE numeric(20, 6)")
    run("ALTER TABLE billing_entry ALTER COLUMN amount TYPE numeric(18, 6)")
    migrate()
    assert installed() == before


def test_a_migrate_without_migrations_leaves_the_views() -> None:
    before = installed()
    for app in apps.get_app_configs():
        database_functions.drop_views(app, plan=[])
    assert installed() == before


def test_a_function_beside_the_present_one_is_dropped() -> None:
    before = installed()
    run("CREATE FUNCTION searches_status_of(lookups text) RETURNS text LANGUAGE plpgsql AS 'BEGIN END'")
    migrate()
    assert installed() == before


def test_a_function_that_is_as_it_should_be_keeps_its_identity() -> None:
    """Statements under way in other processes find it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT oid FROM pg_proc WHERE proname = ANY (%s) ORDER BY 1", [FUNCTIONS])
        before = cursor.fetchall()
        migrate()
        cursor.execute("SELECT oid FROM pg_proc WHERE proname = ANY (%s) ORDER BY 1", [FUNCTIONS])
        assert cursor.fetchall() == before


def test_nothing_is_installed_before_all_migrations_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    run("DROP FUNCTION ledger_is_append_only CASCADE")
    monkeypatch.setattr(database_functions, "is_migrated", lambda _: False)
    migrate()
    assert not any("ledger_is_append_only" in definition for definition in installed())


def test_a_trigger_that_is_as_it_should_be_is_left_alone_while_its_table_is_written_to() -> None:
    """A lock on the table would wait for the writer, or deadlock with it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname, xmin::text FROM pg_trigger WHERE tgname = ANY (%s) ORDER BY 1", [TRIGGERS])
        before = cursor.fetchall()
        migrate()
        cursor.execute("SELECT tgname, xmin::text FROM pg_trigger WHERE tgname = ANY (%s) ORDER BY 1", [TRIGGERS])
        assert cursor.fetchall() == before
