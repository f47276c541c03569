"""Serves the first page: whole, and its changing part alone for the script that refreshes it.

The changing part has an entity tag over all that it shows, so that an unchanged one is answered with 304 and no body.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import get_conditional_response

from accounts.models import Delivery, Endpoint
from accounts.web.admin_columns import list_of
from billing.models import LedgerAudit, Usage
from config.dashboard import attention, credits, figures, lanes, outcomes
from config.dashboard.attention import may_see
from config.dashboard.figures import Figures
from config.dashboard.words import counted
from searches.models import Lane, Search

TEMPLATE = "dashboard/parts.html"
REFRESH_SECONDS = 10


def context(request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    """Adds the parts to the context of the admin's index (UNFOLD's DASHBOARD_CALLBACK)."""
    html = _parts(request)
    refreshed = {"parts": html, "tag": _tag(html), "address": reverse("admin-parts"), "seconds": REFRESH_SECONDS}
    return {**given, "title": "Overview", "refreshed": refreshed}


@admin.site.admin_view
def parts(request: HttpRequest) -> HttpResponse:
    """Returns the changing part, or 304 if it is what the page has."""
    html = _parts(request)
    tag = _tag(html)
    answer = get_conditional_response(request, etag=tag, response=HttpResponse(html)) or HttpResponse(html)
    answer.headers["ETag"] = tag
    answer.headers["Cache-Control"] = "private, no-cache"
    return answer


def _tag(html: str) -> str:
    return f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'


def _parts(request: HttpRequest) -> str:
    """Returns the parts that this operator may see, as HTML."""
    counts = figures.read()
    may_see_lanes = may_see(request, Lane)
    cards = lanes.cards(counts.moment) if may_see_lanes else []
    shown = {
        "tasks": attention.tasks(request, counts, cards),
        "lanes": [card for card in cards if card.is_live],
        "searches": outcomes.searches(counts) if may_see(request, Search) else None,
        "deliveries": outcomes.deliveries(counts) if may_see(request, Delivery, Endpoint) else None,
        "credits": credits.providers(counts) if may_see(request, Usage) else None,
        "audit": _audit(counts) if may_see(request, LedgerAudit) else "",
        "late": counts.late,
        "uncounted": counts.uncounted,
        "may_see_lanes": may_see_lanes,
        "lanes_list": list_of(Lane, mode__exact="live"),
        "usage_list": list_of(Usage),
    }
    return render_to_string(TEMPLATE, shown, request)


def _audit(counts: Figures) -> str:
    """Returns what the last audit of the ledger found."""
    last = counts.audit
    if last is None:
        return "The ledger has not been audited yet; a worker does so every day."
    found = last["differences"]
    return f"The ledger's audit of {last['day']} found {counted(found, 'difference') if found else 'no difference'}."
