"""Counts searches by the hour in which they were submitted, and by what became of them (`accounts.rollups`).

A search may wait for a week. An hour with open ones is counted again from time to time, and says when.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection

from accounts import clock
from accounts.rollups import HOUR, Rollup, window
from searches.models import SearchHour

NAME = "searches"
# A search waits for seven days at most (`expires_in`), and ends within minutes then.
LONGEST_OPEN = timedelta(days=8)
# The hours with open searches that one run counts again.
AT_ONCE = 2
KEPT = timedelta(days=400)
ENDS = ("succeeded", "partial", "failed", "canceled", "expired")
COUNT = f"""
INSERT INTO searches_searchhour AS kept (start, mode, counted_at, open, {", ".join(ENDS)})
SELECT date_trunc('hour', created_at, 'UTC'), mode, clock_timestamp(),
    count(*) FILTER (WHERE status IN ('queued', 'running')),
    {", ".join(f"count(*) FILTER (WHERE status = '{end}')" for end in ENDS)}
FROM searches_search
WHERE id >= %(first)s AND id < %(last)s AND created_at >= %(since)s AND created_at < %(until)s
GROUP BY 1, 2
ON CONFLICT (start, mode) DO UPDATE SET (counted_at, open, {", ".join(ENDS)}) =
    (EXCLUDED.counted_at, EXCLUDED.open, {", ".join(f"EXCLUDED.{end}" for end in ENDS)})
"""


def roll_up(*, seconds: float) -> None:
    """Counts searches up to the present, and deletes the oldest hours."""
    ROLLUP.catch_up(seconds=seconds)
    SearchHour.objects.filter(start__lt=clock.now() - KEPT).delete()


def _count(since: datetime, until: datetime) -> None:
    """Counts whole hours. What an earlier count had, and this one has not found, belonged to a tenant that was deleted."""
    begun = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(COUNT, window(since, until))
    SearchHour.objects.filter(start__gte=since, start__lt=until, counted_at__lt=begun).delete()


def _unsettled(before: datetime) -> Sequence[datetime]:
    """Returns the hours with open searches that were counted longest ago."""
    hours = SearchHour.objects.filter(start__gte=before - LONGEST_OPEN, start__lt=before, open__gt=0)
    return list(hours.order_by("counted_at").values_list("start", flat=True)[:AT_ONCE])


ROLLUP = Rollup(
    name=NAME,
    count=_count,
    unsettled=_unsettled,
    unit=HOUR,
    recounted=HOUR,
    chunk=timedelta(days=1),
)
