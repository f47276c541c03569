"""Columns that several admin pages of this app share: states, waits, credits and the texts of results.

Text from providers is not trusted: only http and https addresses become links or pictures, and no referrer is sent to them.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib import admin

from accounts.web.admin_columns import badge_column
from billing import ledger
from billing.serializers import credits_text
from providers.admin import ByProvider, BySource
from searches.lanes import estimates
from searches.models import Call, Result

MODE_COLOURS = {"live": "success", "test": "info"}
STATUS_COLOURS = {
    "queued": "info",
    "running": "primary",
    "succeeded": "success",
    "partial": "warning",
    "failed": "danger",
    "expired": "warning",
}
QUEUE_STATE_COLOURS = {"ready": "info", "delayed": "warning", "blocked": "danger", "following": "info"}
CALL_COLOURS = {"armed": "info", "answered": "success", "failed": "danger", "unknown": "warning"}


class ByLookupSource(BySource):
    field = "lookup__source"


class ByPolicy(ByProvider):
    field = "policy"


class ByLaneProvider(ByProvider):
    field = "lane__policy"


def wait(forecast: estimates.Forecast | None) -> str:
    if forecast is None:
        return "-"
    parts = [str(forecast.waiting_on)]
    if forecast.position is not None:
        parts.append(f"position {forecast.position}")
    if forecast.estimated_start_at is not None:
        parts.append(f"from {forecast.estimated_start_at:%H:%M:%S}")
    return ", ".join(parts)


def tally(credit: ledger.Tally) -> str:
    held, unknown = f"{credits_text(credit.held)} held", f"{credits_text(credit.unknown)} unknown"
    parts = [f"{credits_text(credit.charged)} charged", held if credit.held else "", unknown if credit.unknown else ""]
    return ", ".join(part for part in parts if part)


def took(call: Call) -> str:
    if not call.sent_at or not call.finished_at:
        return "-"
    return f"{(call.finished_at - call.sent_at).total_seconds() * 1000:,.0f} ms"


def about(result: Result) -> Iterator[str]:
    """Yields what is known of a result beside its title, for one that has no picture to show."""
    detail = result.detail
    if (followers := detail.get("followers_count")) is not None:
        yield f"{followers:,} followers"
    for name in ("account_category", "region", "platform"):
        if detail.get(name):
            yield str(detail[name])
    moments = detail.get("moments") or [{}]
    if (start := moments[0].get("start_seconds")) is not None:
        yield f"at {start:g} s"


class Sent:
    """The columns of a call, for lists and inlines."""

    state_badge = badge_column("state", CALL_COLOURS)

    @admin.display(description="credits", ordering="credits")
    def cost(self, obj: Call) -> str:
        return credits_text(obj.credits)

    @admin.display(description="took")
    def duration(self, obj: Call) -> str:
        return took(obj)
