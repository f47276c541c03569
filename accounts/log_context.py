"""Names what a thread works on in every line that it logs: a request, and in workers a search, a lookup, a call or a delivery.

Only ids are named. A key or a picture never comes into a line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

NOTHING: Mapping[str, object] = MappingProxyType({})
_named: ContextVar[Mapping[str, object]] = ContextVar("named", default=NOTHING)


def begin(**ids: object) -> None:
    """Names the work that begins in this thread, in place of what it did before. Without ids it names nothing."""
    _named.set(ids)


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Names these ids too, during the block."""
    token = _named.set({**_named.get(), **ids})
    try:
        yield
    finally:
        _named.reset(token)


def request_id() -> str:
    """Returns the id of the request that this thread answers; empty where it answers none."""
    return str(_named.get().get("request", ""))


class Names(logging.Filter):
    """Gives each record `about`: the ids in brackets with a blank behind them; empty where there are none."""

    def filter(self, record: logging.LogRecord) -> bool:
        ids = " ".join(f"{name}={id}" for name, id in _named.get().items())
        record.about = f"[{ids}] " if ids else ""
        return True
