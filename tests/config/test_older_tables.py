"""Tests that a database of an older version is refused with one sentence, and one of this version is not."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from config import older_tables
from config.launcher import system
from config.launcher.errors import LaunchError

pytestmark = pytest.mark.django_db


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_tables_of_this_version_are_those_of_the_models() -> None:
    assert older_tables.difference(connection) is None
    call_command("migrate", verbosity=0)


def test_a_column_that_nothing_needs_to_fill_may_be_there() -> None:
    run("ALTER TABLE searches_lane ADD colour text")
    run("ALTER TABLE searches_lane ADD size integer NOT NULL DEFAULT 1")
    call_command("migrate", verbosity=0)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("ALTER TABLE billing_entry RENAME memo TO note", "billing_entry lacks memo"),
        ("ALTER TABLE searches_lane ADD colour text NOT NULL", "searches_lane requires colour"),
        ("DROP TABLE billing_statement CASCADE", "there is no billing_statement"),
        ("ALTER TABLE searches_tenantqueue DROP CONSTRAINT ready_never_negative", "lacks ready_never_negative"),
        ("DROP INDEX lookups_ready", "searches_lookup lacks lookups_ready"),
    ],
)
def test_a_migration_that_finds_older_tables_says_what_to_do(change: str, difference: str) -> None:
    run(change)
    with pytest.raises(CommandError) as caught:
        call_command("migrate", verbosity=0)
    told = str(caught.value)
    assert told.startswith("DATABASE_URL: an older version made these tables: ")
    assert f"{difference}. Before the first release no tables are converted: remove /" in told


def test_serve_says_the_same_and_starts_nothing() -> None:
    run("ALTER TABLE billing_entry RENAME memo TO note")
    with pytest.raises(LaunchError, match="made these tables: billing_entry lacks memo") as end:
        system._migrate()
    assert end.value.code == 2


def test_production_is_told_of_no_folder(settings: Settings) -> None:
    settings.PRODUCTION = True
    run("ALTER TABLE billing_entry RENAME memo TO note")
    with pytest.raises(CommandError, match=r"make a new database\.$"):
        call_command("migrate", verbosity=0)
