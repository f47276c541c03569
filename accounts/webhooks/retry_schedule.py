"""Decides when a failed delivery is tried again: soon at first, then after longer and longer pauses, for about three days.

A longer pause that the endpoint asks for (`Retry-After`) is kept, up to a day.
"""

from __future__ import annotations

import random
from datetime import datetime

import httpx
from django.conf import settings

from accounts.net import peer_clock

MOST_SECONDS = 24 * 3600.0
# The part of each pause by which it varies, up and down, so that deliveries that failed together are not retried together.
JITTER = 0.1


def pause(tries: int, *, asked: float = 0.0, most: int | None = None) -> float | None:
    """Returns the seconds until the next try, after so many tries; None after the last one.

    `asked`: the seconds that the endpoint asks for. `most`: the most tries, if fewer than the schedule has.
    """
    if tries > len(settings.WEBHOOK_PAUSES) or (most is not None and tries >= most):
        return None
    planned = settings.WEBHOOK_PAUSES[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return max(planned, asked)


def asked(headers: httpx.Headers, *, now: datetime) -> float:
    """Returns the seconds, at most a day, that an answer's `Retry-After` asks for; 0 where it says nothing of use.

    `now`: the instant by which a date is read if the answer has no date of its own.
    """
    seconds = peer_clock.seconds_to_wait(headers, now=now.timestamp())
    return 0.0 if seconds is None else min(MOST_SECONDS, seconds)
