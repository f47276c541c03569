"""Columns of lists that say why: what a lookup waits for, where it stands and when it should start, or what ended it.

Waits are those that tenants are told (`estimates`). They are read for a whole page at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.web.admin_columns import moment, reason
from searches.lanes import estimates
from searches.lanes.estimates import Forecast
from searches.models import Call, Lookup, Search

WAITS_FOR = {
    "turn": "its turn",
    "rate": "the provider's limit",
    "provider_backoff": "the provider, which fails or asked for a pause",
    "credential": "its credential, which is refused or out of credits",
    "paused": "operators, who paused the lane or suspended the tenant",
}
NOTHING = SafeString("-")


def attach_forecasts(lookups: Iterable[Any]) -> None:
    """Gives each lookup its `forecast`, None where it waits for nothing."""
    asked = list(lookups)
    forecasts = estimates.forecast(asked)
    for lookup in asked:
        lookup.forecast = forecasts.get(lookup.pk)


def why(lookup: Any) -> SafeString:
    """Returns why a lookup waits, or has not succeeded."""
    if lookup.error_code:
        return reason(lookup.error_code, lookup.error_detail)
    if lookup.forecast is not None:
        return _wait(lookup.forecast)
    if lookup.status in Lookup.OPEN:
        return reason("a call is under way")
    return NOTHING


def _wait(forecast: Forecast) -> SafeString:
    """Returns the reason of a wait, and under it the position and the expected start."""
    parts = []
    if forecast.position is not None:
        parts.append(format_html("position {}", f"{forecast.position:,}"))
    if forecast.estimated_start_at is not None:
        parts.append(format_html("starts {}", moment(forecast.estimated_start_at)))
    for_what = WAITS_FOR.get(str(forecast.waiting_on), str(forecast.waiting_on))
    return reason(f"waits for {for_what}", format_html_join(", ", "{}", ((part,) for part in parts)))


class WhyOfLookups:
    """The column of lists of lookups."""

    def attach(self, rows: list[Lookup]) -> None:
        attach_forecasts(rows)

    @admin.display(description="why")
    def why(self, obj: Lookup) -> SafeString:
        return why(obj)


class WhyOfSearches:
    """The column of lists of searches: the first reason of its lookups, an error before a wait."""

    def attach(self, rows: list[Search]) -> None:
        attach_forecasts(lookup for search in rows for lookup in search.lookups.all())

    @admin.display(description="why")
    def why(self, obj: Search) -> SafeString:
        lookups = sorted(obj.lookups.all(), key=lambda lookup: (not lookup.error_code, lookup.ordinal))
        said = [(lookup.source, text) for lookup in lookups if (text := why(lookup)) != NOTHING]
        if not said:
            return NOTHING
        source, text = said[0]
        return (
            text if len(lookups) == 1 else format_html('<span class="text-subtle text-xs">{}</span> {}', source, text)
        )


class WhyOfCalls:
    """The column of lists of calls."""

    @admin.display(description="why")
    def why(self, obj: Call) -> SafeString:
        return reason(obj.error_code, obj.error_detail)


class WhyOfHolds:
    """The column of lists of holds: what their lookups wait for, or that a cost is unknown."""

    def attach(self, rows: list[Any]) -> None:
        ids = [row.pk.removeprefix("lookup:") for row in rows]
        lookups = {lookup.reference: lookup for lookup in Lookup.objects.filter(pk__in=ids)}
        attach_forecasts(lookups.values())
        for hold in rows:
            hold.lookup = lookups.get(hold.pk)

    @admin.display(description="why")
    def why(self, obj: Any) -> SafeString:
        if obj.unknown:
            return reason("may have been billed", "Look the call up with the provider, and settle it.")
        return NOTHING if obj.lookup is None else why(obj.lookup)
