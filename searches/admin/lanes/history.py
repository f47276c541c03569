"""A lane's last day as charts, and the tenants that used it in the last hour, from what is counted by the minute."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import Tenant
from accounts.web.admin_columns import link, page_of
from searches.admin.lanes.tenant_queues import attach_places, place_text
from searches.models import Lane, TenantQueue
from searches.rollups import lane_history
from searches.rollups.lane_history import Point

DAY, HOUR, STEP = timedelta(days=1), timedelta(hours=1), timedelta(minutes=15)
MOST_USERS = 20
USERS = ["Tenant", "Share of the calls", "Calls", "Weight", "Ready lookups", "Place in line"]
NO_USERS = "No call was made in the last hour. Each tenant that makes calls is here with its share of them."
MOST_LABELS = 9


def charts(lane: Lane) -> list[dict[str, Any]]:
    """Returns the charts of the last 24 hours, a stretch of 15 minutes a point. A stretch that was not counted is a gap."""
    points = lane_history.load([lane.pk], DAY).points(lane.pk, step=STEP)
    total = lane_history.total(points)
    waiting = [point.waiting for point in points]
    most = max((number for number in waiting if number is not None), default=None)
    # The first series is drawn before the others.
    sent = _series("Calls", "var(--color-primary-600)", [point.calls.sent if point.calls else None for point in points])
    refused = _series("Refusals", "#dc2626", [point.calls.refusals if point.calls else None for point in points])
    words = f"{total.sent:,} calls, of which the provider refused {total.refusals:,} as too many."
    return [
        _chart("Calls of the last 24 hours", "bar", points, [refused, sent], words if _is_known(sent) else ""),
        _chart(
            "Waiting lookups in the last 24 hours",
            "line",
            points,
            [_series("Waiting lookups", "var(--color-primary-600)", waiting)],
            "" if most is None else f"Lookups that were ready at once: at most {most:,}.",
        ),
    ]


def _is_known(series: dict[str, Any]) -> bool:
    return any(value is not None for value in series["data"])


def _series(label: str, colour: str, data: Sequence[int | None]) -> dict[str, Any]:
    return {
        "label": label,
        "data": list(data),
        "backgroundColor": colour,
        "borderColor": colour,
        "displayYAxis": True,
        "maxTicksXLimit": MOST_LABELS,
    }


def _chart(
    title: str, kind: str, points: Sequence[Point], datasets: list[dict[str, Any]], words: str
) -> dict[str, Any]:
    """Returns a chart as unfold draws it. Without `words` nothing is known, and the page says so instead."""
    labels = [f"{point.start:%H:%M}" for point in points]
    data = json.dumps({"labels": labels, "datasets": datasets}) if words else ""
    return {"title": title, "type": kind, "data": data, "words": words}


def users(lane: Lane) -> dict[str, Any]:
    """Returns the tenants that made the most calls in the last hour as a table."""
    shares = lane_history.shares(lane.pk, HOUR)
    total, shown = sum(calls for _, calls in shares), dict(shares[:MOST_USERS])
    tenants = Tenant.objects.in_bulk(list(shown))
    queues: dict[Any, Any] = {
        row.tenant_id: row for row in TenantQueue.objects.filter(lane=lane, tenant__in=list(shown))
    }
    attach_places(queues.values())
    rows = [
        _user(tenants[pk], calls, calls / total, queues.get(pk))
        for pk, calls in shown.items()
        if pk in tenants and total
    ]
    return {"headers": USERS, "rows": rows}


def _user(tenant: Tenant, calls: int, share: float, tenant_queue: Any) -> list[Any]:
    ready, place = (tenant_queue.ready, tenant_queue.place) if tenant_queue else (0, None)
    name = link(page_of(tenant), tenant)
    return [name, _meter(share, str(tenant)), f"{calls:,}", tenant.weight, f"{ready:,}", place_text(place)]


def _meter(share: float, name: str) -> SafeString:
    percent = round(100 * share, 1)
    return format_html(
        '<meter min="0" max="100" value="{}" aria-label="{}"></meter> {} %', percent, f"Share of {name}", percent
    )
