"""Counts deliveries by the hour in which they were recorded, and by what became of them (`accounts.rollups`).

A delivery can be tried for days. An hour with pending ones is counted again from time to time, while the log has its deliveries.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from accounts import clock
from accounts.models import DeliveryHour
from accounts.rollups import HOUR, Rollup, window

# A delivery ends within the schedule's four days, unless it is sent once more.
LONGEST_PENDING = timedelta(days=5)
# The hours with pending deliveries that one run counts again.
AT_ONCE = 2
KEPT = timedelta(days=400)
# The shortest log keeps a day of deliveries. Before it, a first run would count what is left.
FIRST_LOOK = timedelta(hours=23)
COUNT = """
INSERT INTO accounts_deliveryhour AS kept (start, counted_at, pending, delivered, failed, retried, seconds)
SELECT date_trunc('hour', created_at, 'UTC'), clock_timestamp(),
    count(*) FILTER (WHERE state = 'pending'),
    count(*) FILTER (WHERE state = 'delivered'),
    count(*) FILTER (WHERE state = 'failed'),
    count(*) FILTER (WHERE state = 'delivered' AND attempt_count > 1),
    coalesce(sum(extract(epoch FROM finished_at - created_at)) FILTER (WHERE state = 'delivered'), 0)
FROM accounts_delivery
WHERE id >= %(first)s AND id < %(last)s AND created_at >= %(since)s AND created_at < %(until)s
GROUP BY 1
ON CONFLICT (start) DO UPDATE SET (counted_at, pending, delivered, failed, retried, seconds) =
    (EXCLUDED.counted_at, EXCLUDED.pending, EXCLUDED.delivered, EXCLUDED.failed, EXCLUDED.retried, EXCLUDED.seconds)
"""


def roll_up(*, seconds: float) -> None:
    """Counts deliveries up to the present, and forgets the oldest hours."""
    ROLLUP.catch_up(seconds=seconds)
    DeliveryHour.objects.filter(start__lt=clock.now() - KEPT).delete()


def _count(since: datetime, until: datetime) -> None:
    """Counts whole hours. One without deliveries loses its row: the log forgot them, or their endpoint was deleted."""
    begun = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(COUNT, window(since, until))
    DeliveryHour.objects.filter(start__gte=since, start__lt=until, counted_at__lt=begun).delete()


def _unsettled(before: datetime) -> Sequence[datetime]:
    """Returns the hours with pending deliveries that were counted longest ago. None of them has been deleted from the log."""
    kept = before - min(LONGEST_PENDING, timedelta(days=settings.WEBHOOK_LOG_DAYS) - HOUR)
    hours = DeliveryHour.objects.filter(start__gte=kept, start__lt=before, pending__gt=0)
    return list(hours.order_by("counted_at").values_list("start", flat=True)[:AT_ONCE])


ROLLUP = Rollup(
    name="deliveries",
    count=_count,
    unsettled=_unsettled,
    unit=HOUR,
    recounted=HOUR,
    chunk=timedelta(days=1),
    first_look=FIRST_LOOK,
)
