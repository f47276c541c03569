"""Runs PostgreSQL and Redis without installing either, so that a bare clone runs what production runs.

The servers are real ones from Python wheels, instead of SQLite and a fake Redis. Each is the child of a small supervisor
(`server` says why).
"""

import os
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager

from config import environment
from config.embedded import state
from config.embedded.postgres import Postgres
from config.embedded.server import Server
from config.embedded.state import EmbeddedError
from config.embedded.valkey import Valkey

__all__ = ["EmbeddedError", "Postgres", "Valkey", "services"]


@contextmanager
def services(environ: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Puts DATABASE_URL and REDIS_URL into the environment until the block ends, each only if it is missing.

    The servers are started, or found running. Each stops when its last user has ended. STATE_DIR names the folder of the data
    (default: .local in the checkout). Raises EmbeddedError.
    """
    servers: tuple[type[Server], ...] = (Postgres, Valkey)
    with ExitStack() as stack:
        for server in servers:
            if environment.text(environ, server.variable):
                continue
            account = state.account()
            folder = state.folder(environ, account) / server.title.lower()
            environ[server.variable] = stack.enter_context(server(folder, account).in_use())
            stack.callback(environ.pop, server.variable, None)
        yield
