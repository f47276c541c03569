"""When a delivery that did not arrive is tried again: soon at first, then ever more patiently, for about three days.

What the endpoint asks for (`Retry-After`) is honoured where it is longer, up to a day.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from django.conf import settings

MOST_SECONDS = 24 * 3600.0
# Of each pause, up and down: what failed together does not come back together.
JITTER = 0.1


def pause(tries: int, *, asked: float = 0.0) -> float | None:
    """Seconds until the next, after so many tries; None where that was the last. `asked`: what the endpoint wants."""
    if tries > len(settings.WEBHOOK_PAUSES):
        return None
    planned = settings.WEBHOOK_PAUSES[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return max(planned, asked)


def asked(retry_after: str, now: datetime) -> float:
    """Seconds, at most a day, of what a `Retry-After` says: a number or a date. 0 where it says nothing of use."""
    return min(MOST_SECONDS, max(0.0, _seconds(retry_after.strip(), now)))


def _seconds(text: str, now: datetime) -> float:
    if text.isascii() and text.isdecimal():
        return float(text[:10])
    try:
        date = parsedate_to_datetime(text)
        return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        # An offset may lead out of the years that there are.
        return 0.0
