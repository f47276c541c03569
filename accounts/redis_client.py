"""Makes the clients of Redis, in one place for all apps: one a process and address, with a short time limit."""

from __future__ import annotations

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry


@cache
def of(url: str, *, seconds: float | None = None) -> redis.Redis:
    """Returns the client of this address. `seconds`: its time limit; without it, that of the settings.

    The client repeats nothing by itself: a command whose answer was lost may have been done.
    """
    limit = settings.REDIS_TIMEOUT_SECONDS if seconds is None else seconds
    return redis.Redis.from_url(url, socket_timeout=limit, socket_connect_timeout=limit, retry=Retry(NoBackoff(), 0))
