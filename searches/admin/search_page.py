"""Puts a search's page together: why it failed or waits, its results, and the time line of each lookup.

The page takes as many queries for twenty lookups and a thousand results as for one of each. Each part is there only if the
operator may see its kind of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import clock
from accounts.web.admin_columns import badge, link, list_of, page_of
from billing import ledger
from providers import registry
from searches import pictures
from searches.admin import gallery, timeline, waits
from searches.admin.announcements import Announced
from searches.admin.columns import STATUS_COLOURS, tally
from searches.admin.timeline import Sees, Step
from searches.lanes import estimates
from searches.lanes.estimates import Forecast
from searches.models import Call, Image, Lookup, Result, Search, Status

# The order in which lookups are named: those that somebody has to look at are first.
URGENCY = (Status.FAILED, Status.EXPIRED, Status.QUEUED, Status.RUNNING, Status.CANCELED, Status.SUCCEEDED)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """States the outcome of one lookup in sentences, with its cost."""

    lookup: Lookup
    page: str
    badge: SafeString
    sentences: Sequence[str]
    credits: str
    cause: SafeString | str


def parts(search: Search, request: HttpRequest, sees: Sees) -> dict[str, Any]:
    """Returns the context of the page's own templates."""
    found: dict[str, Any] = {"query": _query(search, sees), "summary": _summary(search), "notes": list(_notes(search))}
    lookups = lookups_of(search)
    if sees(Lookup):
        forecasts = estimates.forecast(lookups)
        rows = timeline.rows_of(search, lookups, sees)
        found["verdicts"] = _verdicts(lookups, forecasts, rows)
        found["lines"] = [timeline.of(lookup, rows, forecasts.get(lookup.pk)) for lookup in lookups]
        found["own_steps"] = list(_own_steps(search, rows.announced))
    if sees(Result):
        found["gallery"] = gallery.of(search, lookups, request)
    return found


def lookups_of(search: Search) -> list[Lookup]:
    """Returns the search's lookups with the rows that say why they wait."""
    lookups = search.lookups.select_related("lane__policy", "credential", "tenant").order_by("ordinal")
    return list(lookups.defer("credential__sealed"))


def _query(search: Search, sees: Sees) -> dict[str, Any] | None:
    """Returns the picture that was searched with, and the part of it that was, in fractions of its sides."""
    if not sees(Image):
        return None
    if search.image is None:
        return {"image": None}
    return {
        "image": search.image,
        "page": page_of(search.image),
        "address": reverse("admin:searches_image_picture", args=[search.image.pk]),
        "crop": pictures.Crop.parse(search.crop).fractions(),
    }


def _summary(search: Search) -> SafeString:
    status = "erased" if search.erased_at else str(search.status)
    tenant = link(page_of(search.tenant), search.tenant)
    submitted = f"{search.created_at:%Y-%m-%d %H:%M:%S} UTC"
    return format_html("{} {}, {}, submitted {}", badge(status, STATUS_COLOURS), tenant, search.mode, submitted)


def _notes(search: Search) -> Iterator[str]:
    """Yields what is to be known of the whole search beside its lookups."""
    if search.erased_at is not None:
        yield f"It was erased on {search.erased_at:%Y-%m-%d %H:%M:%S} UTC, with what was asked and found. What it cost is kept."
    elif search.results_erased_at is not None:
        yield f"Its results were erased on {search.results_erased_at:%Y-%m-%d %H:%M:%S} UTC, when their retention was over."
    if search.retry_of_id is not None:
        first = link(page_of(Search(pk=search.retry_of_id)), "another search")
        yield format_html("It asks the failed lookups of {} once more.", first)
    if search.status in (Status.FAILED, Status.PARTIAL, Status.EXPIRED):
        yield link(list_of(Search, retry_of__id__exact=search.pk), "Searches that ask its failed lookups once more")


def _verdicts(lookups: Sequence[Lookup], forecasts: dict[Any, Forecast], rows: timeline.Rows) -> list[Verdict]:
    tallies = ledger.tallies(lookup.reference for lookup in lookups)
    return [
        Verdict(
            lookup=lookup,
            page=page_of(lookup),
            badge=badge(lookup.status, STATUS_COLOURS),
            sentences=list(why(lookup, forecasts.get(lookup.pk))),
            credits=tally(tallies[lookup.reference]),
            cause=_cause(lookup, rows),
        )
        for lookup in sorted(lookups, key=lambda lookup: URGENCY.index(Status(lookup.status)))
    ]


def why(lookup: Lookup, forecast: Forecast | None) -> Iterator[str]:
    """Yields why a lookup failed, found nothing or waits."""
    if lookup.error_code:
        yield lookup.error_detail or "The detail was erased with the search."
        yield "Asking again may succeed." if lookup.error_retryable else "Asking again would fail again."
    elif lookup.status == Status.EXPIRED:
        yield f"It had not started by {lookup.expires_at:%Y-%m-%d %H:%M:%S} UTC, when its time was up. It cost nothing."
    elif lookup.status == Status.CANCELED:
        yield "It was canceled before it had ended."
    elif lookup.status == Status.SUCCEEDED:
        yield from _found(lookup)
    elif forecast is not None:
        yield waits.sentence(forecast)
        yield from waits.causes(lookup, forecast, clock.now())
    else:
        yield waits.UNDER_WAY
    if lookup.unreadable:
        yield f"{waits.number(lookup.unreadable, 'billed item')} could not be read; see the excerpt of the call."


def _found(lookup: Lookup) -> Iterator[str]:
    if lookup.result_count:
        known = f" of {lookup.total:,} that the provider knows" if lookup.total else ""
        yield f"{waits.number(lookup.result_count, 'result')}{known}."
        return
    adapter = registry.ADAPTERS.get(lookup.source)
    yield f"It found nothing. {adapter.lag if adapter else ''}".strip()


def _cause(lookup: Lookup, rows: timeline.Rows) -> SafeString | str:
    """Returns a link to the call at which the lookup failed, if it is among the shown ones."""
    failed = [call for call in rows.calls.get(lookup.pk, ()) if call.state in (Call.State.FAILED, Call.State.UNKNOWN)]
    if not lookup.error_code or not failed:
        return ""
    status = f"HTTP {failed[-1].status}" if failed[-1].status else "No answer"
    return format_html("{} to {}", status, link(page_of(failed[-1]), f"the call for page {failed[-1].page}"))


def _own_steps(search: Search, told: Announced | None) -> Iterator[Step]:
    """Yields the steps of the whole search: its end, its announcements and its erasure."""
    moments = (
        (search.created_at, "submitted", "submitted", ""),
        (search.finished_at, "ended", str(search.status), waits.number(search.results_count, "result")),
        (search.results_erased_at, "erased", "results erased", ""),
        (search.erased_at, "erased", "erased", ""),
    )
    steps = [Step(at=at, kind=kind, word=word, text=text) for at, kind, word, text in moments if at is not None]
    yield from sorted([*steps, *timeline.announced(told, search.pk, search.finished_at)], key=timeline.place)


def of_lookup(lookup: Lookup, forecast: Forecast | None, sees: Sees) -> dict[str, Any]:
    """Returns the context of the time line on a lookup's own page."""
    rows = timeline.rows_of(lookup.search, [lookup], sees)
    return {
        "verdict": list(why(lookup, forecast)),
        "cause": _cause(lookup, rows),
        "lines": [timeline.of(lookup, rows, forecast)],
    }
