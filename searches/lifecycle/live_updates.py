"""Tells waiting callers that a search has changed, by an empty message on its Redis channel.

The row is the truth. A lost message, or no Redis at all, delays a caller until its next look and costs nothing else.
"""

from __future__ import annotations

import logging
import time
from uuid import UUID

import redis
from django.conf import settings

from accounts import redis_client

logger = logging.getLogger(__name__)

# redis-py raises the others where its socket is closed under it, as while the server stops.
LOST = (redis.RedisError, OSError, ValueError)
CHANNELS = redis_client.channels("search:")
cooldown = redis_client.Cooldown()


def client() -> redis.Redis:
    return redis_client.of(settings.REDIS_URL)


def announce(search_id: UUID) -> None:
    """Publishes on the search's channel, after a change of it was committed. Never raises."""
    if cooldown.active:
        return
    try:
        client().publish(channel(search_id), "")
    except redis.RedisError as error:
        cooldown.start()
        logger.warning("changes are not announced for %s s: %s", cooldown.seconds, type(error).__name__)


def channel(search_id: UUID | str) -> str:
    return f"{CHANNELS}{search_id}"


class Listener:
    """Listens for the changes of one search until it is closed. Without Redis, `wait` only sleeps."""

    def __init__(self, search_id: UUID) -> None:
        self._messages = client().pubsub(ignore_subscribe_messages=True)
        self._disconnected = False
        try:
            self._messages.subscribe(channel(search_id))
        except LOST:
            self._disconnected = True

    def wait(self, seconds: float) -> None:
        """Waits until the search may have changed, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        if not self._disconnected:
            try:
                self._messages.get_message(timeout=seconds)
            except LOST:
                self._disconnected = True
        if self._disconnected:
            time.sleep(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        self._messages.close()
