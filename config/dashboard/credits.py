"""Shows the charges by provider and day. Credits are each provider's own unit, so every provider has a chart of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from billing.serializers import credits_text
from config.dashboard import charts, words
from config.dashboard.charts import Column, TimeChart
from config.dashboard.figures import Figures

DAYS = 14
DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A provider's charges."""

    name: str
    today: str
    total: str
    chart: TimeChart


def providers(figures: Figures) -> list[Provider]:
    """Returns the charges of each provider that had any in the last days."""
    names = sorted({row["provider"] for row in figures.credits})
    return [_provider(figures, name) for name in names]


def _provider(figures: Figures, name: str) -> Provider:
    by_day = {row["day"]: row for row in figures.credits if row["provider"] == name}
    today = figures.moment.astimezone(UTC).date()
    days = [today - number * DAY for number in reversed(range(DAYS))]
    spent = sum((row["charged"] for row in by_day.values()), Decimal(0))
    return Provider(
        name=name,
        today=f"{credits_text(by_day[today]['charged'] if today in by_day else Decimal(0))} credits today",
        total=f"{credits_text(spent)} credits in {DAYS} days",
        chart=charts.draw(
            [_column(figures, day, by_day.get(day)) for day in days],
            words=f"Credits of {name} charged by day in the last {DAYS} days",
        ),
    )


def _column(figures: Figures, day: Any, row: dict[str, Any] | None) -> Column:
    start = datetime.combine(day, time(), UTC)
    if not figures.is_counted("credits", start, start + DAY):
        return Column(words=f"{day}: not counted", parts=None)
    if row is None:
        return Column(words=f"{day}: no charges", parts={})
    said = f"{day}: {credits_text(row['charged'])} credits in {words.counted(row['charges'], 'charge')}"
    return Column(words=said, parts={"charged": float(row["charged"])})
