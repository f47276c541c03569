"""Reads the times that a peer tells in its answer, by the peer's own clock: the one home of `Retry-After` for every door out.

A date means an instant of the clock that wrote it. Our own clock may differ from that one by minutes, which would turn a wait
of seconds into none or into hours. The same answer's `Date` says what the peer's clock showed, so a date is a wait from there.
"""

from __future__ import annotations

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

# RFC 9110 has whole seconds; fractions have been seen. A double holds as many digits.
SECONDS = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,9})?")
# Nobody means more, and what is added to a time must stay a time.
MOST_SECONDS = 366 * 24 * 3600.0


def seconds_to_wait(headers: httpx.Headers, *, now: float | None = None) -> float | None:
    """Returns the seconds that `Retry-After` asks for, at least 0; None where it says nothing that can be read.

    Of several the longest counts. `now`: seconds since 1970, by which a date is read where the answer has no `Date`.
    """
    told = [_seconds(value.strip(), headers, now) for value in headers.get_list("Retry-After")]
    waits = [seconds for seconds in told if seconds is not None]
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
    """Seconds since 1970. An offset may lead out of the years that there are."""
    try:
        read = parsedate_to_datetime(date)
        return read.replace(tzinfo=read.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
