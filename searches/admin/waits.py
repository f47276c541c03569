"""Says in words on what a lookup waits, and on what it has waited. What it waits on now is decided by `estimates` alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.web.admin_columns import link, page_of
from searches.lanes import pauses
from searches.lanes.estimates import Forecast
from searches.models import Call, Lookup
from searches.representations import WAITS

UNDER_WAY = "A call is under way, or its end is being settled."
MINUTE, HOUR, DAY = 60, 3600, 86400


def sentence(forecast: Forecast) -> str:
    """Returns what a tenant is told: the reason, the position and the expected start."""
    reason = str(forecast.waiting_on)
    parts = [f"{reason}: {WAITS[reason]}"]
    if forecast.position is not None:
        parts.append(f"It is number {forecast.position:,} in line.")
    if forecast.estimated_start_at is not None:
        parts.append(f"It should start at {forecast.estimated_start_at:%H:%M:%S} UTC.")
    return " ".join(parts)


def causes(lookup: Lookup, forecast: Forecast, moment: datetime) -> Iterator[SafeString]:
    """Yields what an operator can look at to end the wait: the lane's pauses, or the credential's state."""
    if forecast.waiting_on in ("paused", "provider_backoff"):
        lane = link(page_of(lookup.lane), f"Lane {lookup.lane}")
        for reason in pauses.reasons(lookup.lane, moment):
            yield format_html("{}: {}", lane, reason)
    if forecast.waiting_on == "paused" and lookup.tenant.suspended_at is not None:
        yield format_html("{} is suspended.", link(page_of(lookup.tenant), lookup.tenant))
    if (credential := lookup.credential) is None:
        return
    key = link(page_of(credential), f"The {credential.provider} credential {credential.label}")
    if forecast.waiting_on == "credential":
        yield format_html("{} is {}.", key, credential.get_state_display())
    if forecast.waiting_on == "provider_backoff" and credential.rests_until and credential.rests_until > moment:
        yield format_html("{} rests until {} UTC.", key, f"{credential.rests_until:%H:%M:%S}")


def before_call(before: Call | None) -> str:
    """Returns for what a lookup had waited before a call, by what the call before that met."""
    if before is None:
        return "for its turn in the lane and the provider's limit"
    if before.state == Call.State.ANSWERED:
        return "for its turn with the next page"
    if before.state == Call.State.UNKNOWN:
        return "for its turn to ask once more, because the answer was lost"
    return f"to try again after {before.error_code or 'a failure'}"


def span(seconds: float) -> str:
    """Returns a length of time as a person says it: 830 ms, 3.2 s, 5 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
