"""The functions of billing as their files define them, and without what they do, to be installed in turns."""

from __future__ import annotations

from django.apps import apps
from django.db import connection

from config import database_functions


def present(name: str) -> str:
    """Returns the statement that installs the function."""
    found = {name: statement for _, name, statement in database_functions.definitions(apps.get_app_config("billing"))}
    return found[name]


def emptied(name: str) -> str:
    """Returns the statement that installs, in place of a function that returns nothing, one that does nothing."""
    return f"{present(name).partition(' AS $$')[0]} AS $$ BEGIN END $$"


def install(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
