"""PostgreSQL as Django speaks to it, but that no whole number is cut, and that each connection is checked that comes from the
pool.

Where PostgreSQL dropped one, it has dropped them all: it was started anew, or failed over. So the first dead one empties the
pool, and the next is new. Rejected: the pool's own check, which takes dead connections out one by one and sleeps after the
second, so that healthy requests are refused until all are gone. And its five minutes of ever rarer attempts to connect
(`reconnect_timeout`): each keeps the pool from growing when it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.postgresql import base, operations
from psycopg.types.numeric import Int8
from psycopg_pool import ConnectionPool


class DatabaseOperations(operations.DatabaseOperations):
    """Sends whole numbers as large ones. Django takes any in an expression for one of four bytes, and psycopg cuts off
    what is more than those hold, without a word; the server says so where it is more than a column holds.
    """

    # That one statement can have.
    MOST_VALUES = 65_535
    integerfield_type_map = dict.fromkeys(operations.DatabaseOperations.integerfield_type_map, Int8)

    def bulk_batch_size(self, fields: Sequence[str], objs: Sequence[Any]) -> int:
        """How many rows are written, or deleted with what hangs on others, in one statement."""
        return min(len(objs), self.MOST_VALUES // max(1, len(fields)))


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        pool = self.pool
        if pool is None:
            return connection
        try:
            ConnectionPool.check_connection(connection)
        except self.Database.Error:
            pool.drain()
            pool.putconn(connection)
            return super().get_new_connection(conn_params)
        return connection
