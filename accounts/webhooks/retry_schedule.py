"""When a delivery that did not arrive is tried again: soon at first, then ever more patiently, for about three days.

What the endpoint asks for (`Retry-After`) is honoured where it is longer, up to a day.
"""

from __future__ import annotations

import random
from datetime import datetime

import httpx
from django.conf import settings

from accounts.net import peer_clock

MOST_SECONDS = 24 * 3600.0
# Of each pause, up and down: what failed together does not come back together.
JITTER = 0.1


def pause(tries: int, *, asked: float = 0.0, most: int | None = None) -> float | None:
    """Seconds until the next, after so many tries; None where that was the last. `asked`: what the endpoint wants. `most`:
    tries, where they are fewer than the schedule has.
    """
    if tries > len(settings.WEBHOOK_PAUSES) or (most is not None and tries >= most):
        return None
    planned = settings.WEBHOOK_PAUSES[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return max(planned, asked)


def asked(headers: httpx.Headers, *, now: datetime) -> float:
    """Returns the seconds, at most a day, that an answer's `Retry-After` asks for; 0 where it says nothing of use.

    `now`: the instant by which a date is read where the answer does not tell its own.
    """
    seconds = peer_clock.seconds_to_wait(headers, now=now.timestamp())
    return 0.0 if seconds is None else min(MOST_SECONDS, seconds)
