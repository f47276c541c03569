"""Asks a worker to look at the deliveries that are due, by a message that says no more than that.

Workers look every second without being asked, so a lost message costs a second. Messages are therefore few: one for all that
a process records within a moment, and none while enough wait in the queue.
"""

from __future__ import annotations

import logging

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from accounts import redis_client

log = logging.getLogger(__name__)

QUEUE = "webhooks"
# A message that no worker has taken for so long is of no use. Clocks are compared here, so this is more than any should be off.
STALE_SECONDS = 900
# One message serves all that a process records meanwhile: a worker looks again a little later (`dispatcher`).
WAKE_UP_SECONDS = 0.05
# With so many waiting another is of no use. Without a worker they would fill Redis.
MOST_WAKE_UPS = 20

cooldown = redis_client.Cooldown()


def wake_up() -> None:
    """Sends a message. Never raises."""
    if cooldown.active:
        return
    cooldown.start(WAKE_UP_SECONDS)
    try:
        _send()
    except (OperationalError, RedisError, OSError):
        cooldown.start()
        log.warning("deliveries are not announced for %s s: the broker is unreachable", cooldown.seconds)


def _send() -> None:
    with current_app.producer_or_acquire() as producer:
        with producer.channel.conn_or_acquire() as redis:
            waiting = redis.llen(QUEUE)
        if waiting < MOST_WAKE_UPS:
            current_app.send_task(
                "accounts.tasks.deliver", queue=QUEUE, expires=STALE_SECONDS, retry=False, producer=producer
            )
