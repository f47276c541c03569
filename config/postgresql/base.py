"""Checks each connection that comes from the pool. Where PostgreSQL dropped one, it has dropped them all: it was started
anew, or failed over. So the first dead one empties the pool, and the next is new.

Rejected: the pool's own check, which takes dead connections out one by one and sleeps after the second, so that healthy
requests are refused until all are gone. And its five minutes of ever rarer attempts to connect (`reconnect_timeout`): each
keeps the pool from growing when it is asked.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
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
