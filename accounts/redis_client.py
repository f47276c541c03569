"""Makes the clients of Redis, in one place for all apps: one a process and address, with a short time limit.

A connection on which a replica refused is closed. After a fail-over the address leads to another server, while a kept connection
would lead to the old one for as long as both last. The broker's connections do the same (`config.celery`).
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import MasterDownError, ReadOnlyError
from redis.retry import Retry

# The prefixes of Sightline's keys and channels in Redis. Readiness tries each, and names those that the server must grant.
KEYS: set[str] = set()
CHANNELS: set[str] = set()
# Five times the default time limit (`REDIS_TIMEOUT_SECONDS`): a silent Redis then costs a caller a sixth of its time at most.
COOLDOWN_SECONDS = 5.0

if TYPE_CHECKING:

    class Base(redis.Connection):
        def disconnect(self, *args: object) -> None: ...
else:
    Base = object


class LeavesReplicas(Base):
    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except (ReadOnlyError, MasterDownError):
            self.disconnect()
            raise


class Connection(LeavesReplicas, redis.Connection):
    """A connection by TCP."""


class SSLConnection(LeavesReplicas, redis.SSLConnection):
    """A connection by TLS."""


class UnixConnection(LeavesReplicas, redis.UnixDomainSocketConnection):
    """A connection by a socket of this machine."""


CLASSES: dict[str, type[redis.connection.AbstractConnection]] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixConnection,
}


class Cooldown:
    """Spares Redis for some seconds after it did not answer: a silent Redis must not cost every caller its time limit.

    A cooldown holds for one address, so that another Redis is asked at once.
    """

    def __init__(self, seconds: float = COOLDOWN_SECONDS) -> None:
        self.seconds = seconds
        self._until: dict[str, float] = {}

    @property
    def active(self) -> bool:
        return time.monotonic() < self._until.get(settings.REDIS_URL, 0.0)

    def start(self, seconds: float | None = None) -> None:
        """Starts anew. `seconds`: how long, where that is not as usual."""
        self._until = {settings.REDIS_URL: time.monotonic() + (self.seconds if seconds is None else seconds)}

    def end(self) -> None:
        self._until = {}


def keys(prefix: str) -> str:
    """Declares a prefix of keys, and returns it. Each module that keeps something in Redis calls this."""
    KEYS.add(prefix)
    return prefix


def channels(prefix: str) -> str:
    """Declares a prefix of channels, and returns it."""
    CHANNELS.add(prefix)
    return prefix


@cache
def of(url: str, *, seconds: float | None = None) -> redis.Redis:
    """Returns the client of this address. `seconds`: its time limit; without it, that of the settings.

    The client repeats nothing by itself: a command whose answer was lost may have been done.
    """
    limit = settings.REDIS_TIMEOUT_SECONDS if seconds is None else seconds
    return redis.Redis.from_url(
        url,
        connection_class=CLASSES[urlsplit(url).scheme],
        socket_timeout=limit,
        socket_connect_timeout=limit,
        retry=Retry(NoBackoff(), 0),
    )
