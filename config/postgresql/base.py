"""Adapts Django's PostgreSQL backend in three things: whole numbers are not cut, sessions have the settings of `session`, and
no dead or refusing connection is kept.

A connection is checked when it comes from the pool. If PostgreSQL dropped one connection, it dropped them all: it was
restarted, or failed over. A standby refuses writes on all connections. The first bad connection therefore empties the pool,
and the next one is new. If that one leads to a standby too, the caller gets `OperationalError` at once, as for a server that
is down. A statement that the server refuses for a reason of its own (`REFUSALS`) raises that error too, and drops its
connection.

Rejected:

- The pool's own check. It removes dead connections one by one and sleeps after the second, so that healthy requests are refused
  until all are gone.
- The pool's five minutes of ever rarer attempts to connect (`reconnect_timeout`). Each attempt keeps the pool from growing.
- `target_session_attrs=read-write` for one host. The pool would try in the background, and a request would wait for the pool's
  time limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import psycopg
from django.db import OperationalError
from django.db.backends.postgresql import base, operations
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg.types.numeric import Int8
from psycopg_pool import ConnectionPool

from config.postgresql import session

# SQLSTATEs of a server that refuses every statement for now: it only reads (25006), it ended a transaction that was open for too
# long (25P03, 25P04), it is shutting down, starting or dropping (57P01 to 57P05), it is in the wrong state (55000). Classes of
# SQLSTATEs: the connection failed (08), a resource is short (53: disk, memory, connections), the system failed (58).
REFUSALS = frozenset({"25006", "25P03", "25P04", "55000", "57P01", "57P02", "57P03", "57P04", "57P05"})
CLASSES_OF_REFUSALS = ("08", "53", "58")
ONLY_READS = "The PostgreSQL at this address only reads: it is a standby, or in recovery."


class DatabaseOperations(operations.DatabaseOperations):
    """Sends whole numbers as bigint. Django sends each number in an expression as an integer of four bytes, and psycopg cuts
    larger ones without an error. With bigint the server reports numbers that are too large for a column.
    """

    # The protocol's limit for one statement.
    MOST_VALUES = 65_535
    integerfield_type_map = dict.fromkeys(operations.DatabaseOperations.integerfield_type_map, Int8)

    def bulk_batch_size(self, fields: Sequence[str], objs: Sequence[Any]) -> int:
        """Returns how many rows are written, or deleted with their dependents, in one statement."""
        return min(len(objs), self.MOST_VALUES // max(1, len(fields)))


class ErrorWrapper(DatabaseErrorWrapper):
    """Raises `OperationalError` for every refusal: psycopg counts some of them among `InternalError`, which is a mistake's."""

    wrapper: DatabaseWrapper

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, psycopg.Error) and refuses(error):
            self.wrapper.errors_occurred = self.wrapper.refused = True
            raise OperationalError(*error.args).with_traceback(trace) from error
        super().__exit__(kind, error, trace)


def refuses(error: psycopg.Error) -> bool:
    """Returns whether the server refused for a reason of its own, and not for the statement's."""
    code = error.sqlstate or ""
    return code in REFUSALS or code.startswith(CLASSES_OF_REFUSALS)


def only_reads(connection: psycopg.Connection) -> bool:
    """Returns whether the server is a standby. PostgreSQL reports each change to its clients, so no query is needed."""
    return connection.info.parameter_status("in_hot_standby") == "on"


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
    # Whether the server has refused something on the present connection.
    refused = False

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        return ErrorWrapper(self)

    def get_connection_params(self) -> dict[str, Any]:
        parameters = super().get_connection_params()
        # Several hosts are given: the connection must be to the one that writes.
        several = {"target_session_attrs": "read-write"} if "," in str(parameters.get("host", "")) else {}
        return several | parameters | {"options": session.options(parameters.get("options", ""))}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        pool = self.pool
        if pool is None:
            return connection
        if not self._is_good(connection):
            pool.drain()
            pool.putconn(connection)
            connection = super().get_new_connection(conn_params)
        if only_reads(connection):
            pool.drain()
            pool.putconn(connection)
            raise self.Database.OperationalError(ONLY_READS)
        return connection

    def _is_good(self, connection: psycopg.Connection) -> bool:
        try:
            ConnectionPool.check_connection(connection)
        except self.Database.Error:
            return False
        return not only_reads(connection)

    def _configure_connection(self, connection: Any) -> bool:
        parent: Any = super()  # django-stubs lacks the method, and `_close`
        parent._configure_connection(connection)
        session.configure(connection)
        return True

    def _close(self) -> None:
        refused, self.refused = self.refused, False
        if refused and self.pool:
            self.pool.drain()
        parent: Any = super()
        parent._close()
