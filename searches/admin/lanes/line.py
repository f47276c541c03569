"""The line of a lane, for its page: which lookups are claimed next, when each should start, and why it waits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from accounts.web.admin_columns import link, page_of
from searches.admin.lanes.moments import ahead
from searches.lanes import estimates, next_in_line
from searches.lanes.estimates import Forecast
from searches.models import Lane, Lookup

HEADERS = ["Place", "Tenant", "Lookup", "Expected start", "Why it waits"]
EMPTY = "No lookup is in line. A lookup is here from its submit until a worker takes it."


def table(lane: Lane, now: datetime) -> dict[str, Any]:
    """Returns the next lookups in line as a table."""
    lookups = next_in_line.of(lane.pk)
    waits = estimates.forecast(lookups)
    rows = [_row(place, lookup, waits.get(lookup.pk, Forecast()), now) for place, lookup in enumerate(lookups, 1)]
    return {"headers": HEADERS, "rows": rows}


def _row(place: int, lookup: Lookup, forecast: Forecast, now: datetime) -> list[Any]:
    start = ahead(forecast.estimated_start_at, now) if forecast.estimated_start_at else "when it is resumed"
    tenant = link(page_of(lookup.tenant), lookup.tenant)
    return [place, tenant, link(page_of(lookup), lookup.source), start, why(lookup, forecast)]


def why(lookup: Lookup, forecast: Forecast) -> str:
    """Returns why a lookup waits, in words: on what, and what gave it its place."""
    return "; ".join([_waits_on(forecast), *_reasons(lookup)])


def _waits_on(forecast: Forecast) -> str:
    match forecast.waiting_on:
        case "paused":
            return "the lane is paused"
        case "provider_backoff":
            return "the provider asked to wait"
        case "rate":
            return "next: waits for the limit's next slot"
        case "turn":
            calls = forecast.calls_before or 0
            return f"{calls:,} {'call is' if calls == 1 else 'calls are'} made before it"
    return "being claimed now"


def _reasons(lookup: Lookup) -> list[str]:
    """Returns what sets a lookup apart from others: its tenant's weight, its priority, its pages, its followers."""
    said = []
    if lookup.tenant.weight != 1:
        said.append(f"weight {lookup.tenant.weight}")
    if lookup.search.priority:
        said.append(f"priority {lookup.search.priority}")
    if lookup.pages > 1:
        said.append(f"page {lookup.pages_done + 1} of {lookup.pages}")
    if lookup.has_followers:
        said.append("others wait for its answer")
    return said
