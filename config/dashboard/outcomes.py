"""Searches by what became of them, and deliveries of webhooks, over the last 24 hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from accounts.models import Delivery, Mode
from accounts.rollups import HOUR, floor
from accounts.web.admin_columns import list_of
from config.dashboard import charts, words
from config.dashboard.charts import Column, TimeChart
from config.dashboard.figures import Figures
from searches.models import Search

HOURS = 24
SEARCH_ENDS = ("succeeded", "partial", "failed", "canceled", "expired", "open")
DELIVERY_ENDS = ("delivered", "failed", "pending")


@dataclass(frozen=True, kw_only=True)
class Total:
    """A number with its words, and the list that has its rows, if there is one."""

    kind: str
    words: str
    share: str
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """A part of the page: a chart by hour and its totals. `empty`: a sentence instead of both. `note`: a sentence below."""

    chart: TimeChart
    totals: list[Total]
    empty: str
    note: str


def searches(figures: Figures) -> Outcomes:
    """Returns the searches of live keys, by the hour of their submit."""
    live = [row for row in figures.searches if row["mode"] == Mode.LIVE]
    tests = sum(row[end] for row in figures.searches if row["mode"] == Mode.TEST for end in SEARCH_ENDS)
    sums = {end: sum(row[end] for row in live) for end in SEARCH_ENDS}

    def address(end: str) -> str:
        return "" if end == "open" else list_of(Search, status__exact=end, mode__exact="live", made="day")

    return Outcomes(
        chart=_chart(figures, "searches", live, SEARCH_ENDS, "Searches by the hour of their submit"),
        totals=_totals(sums, address),
        empty="" if sum(sums.values()) else "No live search was submitted in the last 24 hours.",
        note=f"{words.counted(tests, 'search', 'searches')} of test keys beside them." if tests else "",
    )


def deliveries(figures: Figures) -> Outcomes:
    """Returns the deliveries of webhooks, by the hour of their event."""
    rows = figures.deliveries
    sums = {end: sum(row[end] for row in rows) for end in DELIVERY_ENDS}
    retried, seconds = (sum(row[name] for row in rows) for name in ("retried", "seconds"))
    arrived = sums["delivered"]
    note = f"{words.share(retried, arrived)} of them took more than one attempt; " if arrived else ""
    return Outcomes(
        chart=_chart(figures, "deliveries", rows, DELIVERY_ENDS, "Deliveries by the hour of their event"),
        totals=_totals(sums, lambda end: list_of(Delivery, state__exact=end, made="day")),
        empty="" if sum(sums.values()) else "No event was sent to an endpoint in the last 24 hours.",
        note=f"{note}on average they arrived {words.duration(seconds / arrived)} after their event." if arrived else "",
    )


def _totals(sums: dict[str, int], address: Callable[[str], str]) -> list[Total]:
    whole = sum(sums.values())
    return [
        Total(kind=end, words=f"{number:,} {end}", share=words.share(number, whole), address=address(end))
        for end, number in sums.items()
        if number
    ]


def _chart(figures: Figures, kind: str, rows: Sequence[dict[str, Any]], ends: tuple[str, ...], about: str) -> TimeChart:
    by_hour = {row["start"]: row for row in rows}
    first = floor(figures.moment, HOUR) - (HOURS - 1) * HOUR
    columns = [_column(figures, kind, first + nth * HOUR, by_hour, ends) for nth in range(HOURS)]
    return charts.draw(columns, words=f"{about}, in the last 24 hours")


def _column(
    figures: Figures, kind: str, start: datetime, by_hour: dict[datetime, dict[str, Any]], ends: tuple[str, ...]
) -> Column:
    hour = f"{start:%H:%M} to {start + timedelta(minutes=59):%H:%M} UTC"
    if not figures.is_counted(kind, start, start + HOUR):
        return Column(words=f"{hour}: not counted", parts=None)
    row = by_hour.get(start, {})
    parts: dict[str, float] = {end: row.get(end, 0) for end in ends}
    named = [f"{amount:,.0f} {end}" for end, amount in parts.items() if amount]
    return Column(words=f"{hour}: {', '.join(named) or 'none'}", parts=parts)
