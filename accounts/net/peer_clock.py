"""Reads `Retry-After` by the clock of the peer that sent it: the one home of that rule, for calls and for webhooks.

A date means an instant of the clock that wrote it. Our own clock may differ from that one by minutes, which would turn a wait of
seconds into none or into hours. The `Date` of the answer tells what the peer's clock showed, and the wait is counted from there.
"""

from __future__ import annotations

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

# RFC 9110 has whole seconds; fractions have been seen. A double can hold a number of so many digits.
SECONDS = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,9})?")
# A year. No peer means more, and a later time might not be a time that Python has.
MOST_SECONDS = 366 * 24 * 3600.0


def seconds_to_wait(headers: httpx.Headers, *, now: float | None = None) -> float | None:
    """Returns the seconds that `Retry-After` asks for, at least 0; None where it says nothing that can be read.

    Of several the longest counts. `now`: seconds since 1970, by which a date is read where the answer has no `Date`.
    """
    asked = [_seconds(value.strip(), headers, now) for value in headers.get_list("Retry-After")]
    waits = [seconds for seconds in asked if seconds is not None]
    return min(MOST_SECONDS, max(0.0, *waits)) if waits else None


def _seconds(value: str, headers: httpx.Headers, now: float | None) -> float | None:
    if SECONDS.fullmatch(value):
        return float(value)
    until = _instant(value)
    return None if until is None else until - _peers_now(headers, now)


def _peers_now(headers: httpx.Headers, now: float | None) -> float:
    shown = _instant(headers.get("Date", ""))
    if shown is not None:
        return shown
    return time.time() if now is None else now


def _instant(date: str) -> float | None:
    """Returns seconds since 1970. An offset may lead beyond the years that Python has."""
    try:
        read = parsedate_to_datetime(date)
        return read.replace(tzinfo=read.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
