"""Tests that a database session is what the code needs, whatever its role's defaults; a server that only reads counts as
down.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import Error, OperationalError, connections
from django.test import Client

from config import embedded
from config.embedded import state
from config.postgresql import session
from config.postgresql.base import DatabaseWrapper
from tests import processes, programs

pytestmark = pytest.mark.django_db
# Defaults that a server's administrator may give a role. Each would break something.
ROLE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "timezone": "Asia/Kathmandu",
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "search_path": "nowhere",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "transaction_timeout": "1ms",
    "idle_in_transaction_session_timeout": "0",
    "synchronous_commit": "off",
    "plan_cache_mode": "auto",
    "bytea_output": "escape",
    "extra_float_digits": "-3",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "row_security": "off",
    "exit_on_error": "on",
    "client_encoding": "latin1",
}


@pytest.fixture(scope="module")
def server() -> Iterator[processes.Postgres]:
    with programs.state_folder() as folder, embedded.Postgres(folder / "postgresql", state.account()).in_use():
        yield processes.Postgres(folder / "postgresql")


@contextmanager
def client_of(server: processes.Postgres, **more: Any) -> Iterator[DatabaseWrapper]:
    """Yields a connection from a pool of its own to that server."""
    its = embedded.Postgres(server.pid_file.parent, state.account())
    usual = connections["default"].settings_dict
    settings = usual | {"NAME": "app", "USER": "app", "PASSWORD": its.password, "HOST": str(its.socket_folder)}
    settings["OPTIONS"] = {**usual["OPTIONS"], "options": "", **more}
    client = DatabaseWrapper(settings, f"standby-{threading.get_ident()}")
    try:
        yield client
    finally:
        client.close()
        client.close_pool()


def ask(client: DatabaseWrapper, statement: str) -> Any:
    with client.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


@pytest.fixture
def spoilt_role(server: processes.Postgres) -> Iterator[None]:
    with server.superuser() as superuser:
        for name, value in ROLE.items():
            superuser.execute(f"ALTER ROLE app SET {name} = '{value}'".encode())
        yield
        superuser.execute("ALTER ROLE app RESET ALL")


@pytest.mark.usefixtures("spoilt_role")
def test_a_session_has_what_the_code_needs_for_every_role(server: processes.Postgres) -> None:
    wanted = session.PREFERRED | session.REQUIRED | session.NEWER | {"client_encoding": "UTF8"}
    with client_of(server) as client:
        assert {name: ask(client, f"SHOW {name}") for name in wanted} == wanted
        ask(client, "CREATE TABLE written (n integer)")
        ask(client, "DROP TABLE written")


def test_options_of_the_address_are_added_and_replace_no_required_one(server: processes.Postgres) -> None:
    given = "-c search_path=pg_catalog -c default_transaction_isolation=serializable"
    with client_of(server, options=given) as client:
        assert ask(client, "SHOW search_path") == "pg_catalog"
        assert ask(client, "SHOW default_transaction_isolation") == "read committed"


@pytest.mark.parametrize(("variable", "value"), [("PGDATESTYLE", "German"), ("PGTZ", "Asia/Kathmandu")])
def test_the_environment_changes_no_session(
    server: processes.Postgres, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with client_of(server) as client:
        assert ask(client, "SHOW DateStyle") == "ISO, MDY"
        assert ask(client, "SHOW TimeZone") == "UTC"


def test_connections_kept_from_before_a_fail_over_are_dropped(server: processes.Postgres) -> None:
    with client_of(server) as client:
        ask(client, "CREATE TABLE kept (n integer)")
        client.close()
        with server.only_reading(), pytest.raises(OperationalError, match="only reads"):
            ask(client, "INSERT INTO kept VALUES (1)")
        processes.wait_until(lambda: answers(lambda: ask(client, "INSERT INTO kept VALUES (1)")), seconds=10)


def answers(question: Callable[[], Any]) -> bool:
    try:
        question()
    except Error:
        return False
    return True


REFUSALS = ["25006", "25P03", "53100", "53200", "53300", "55000", "57P01", "57P02", "57P03", "58030", "08006"]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_server_that_refuses_counts_as_unreachable(server: processes.Postgres, code: str) -> None:
    with client_of(server) as client:
        before = ask(client, "SELECT pg_backend_pid()")
        with pytest.raises(OperationalError):
            ask(client, f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$")
        client.close()
        assert ask(client, "SELECT pg_backend_pid()") != before


def test_a_mistake_in_a_statement_costs_no_connection(server: processes.Postgres) -> None:
    with client_of(server) as client:
        before = ask(client, "SELECT pg_backend_pid()")
        with pytest.raises(Error, match="nothing"):
            ask(client, "SELECT nothing")
        client.close()
        assert ask(client, "SELECT pg_backend_pid()") == before


@pytest.mark.parametrize(
    ("path", "kind"), [("/admin/login/", "text/html"), ("/v1/nowhere", "application/problem+json")]
)
def test_an_unreachable_database_is_a_503_on_every_path(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("secret details")

    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_request", away)
    client.raise_request_exception = False
    response = client.get(path, headers={"Accept": kind})
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response["Content-Type"].startswith(kind)
    assert "secret" not in response.content.decode()
