"""Adds up the charges of all tenants by provider and day (`accounts.rollups`), from each account's usage.

Usage is exact at any moment (`usage.sql`) and never shrinks, so a day can be added up again at any time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection

from accounts import clock
from accounts.rollups import Rollup
from billing.models import CreditDay

NAME = "credits"
DAY = timedelta(days=1)
KEPT = timedelta(days=400)
# A step in the index of each account finds its days, however many others it has.
ADD_UP = """
INSERT INTO billing_creditday AS kept (provider, day, charged, charges, counted_at)
SELECT account.provider, usage.day, sum(usage.charged), sum(usage.charges), clock_timestamp()
FROM billing_account AS account CROSS JOIN LATERAL (
    SELECT day, charged, charges FROM billing_usage
    WHERE account_id = account.id AND day >= %(since)s AND day <= %(until)s
) AS usage
GROUP BY 1, 2
ON CONFLICT (day, provider) DO UPDATE SET (charged, charges, counted_at) =
    (EXCLUDED.charged, EXCLUDED.charges, EXCLUDED.counted_at)
"""


def roll_up(*, seconds: float) -> None:
    """Adds up the days until the present, and forgets the oldest ones."""
    ROLLUP.catch_up(seconds=seconds)
    CreditDay.objects.filter(day__lt=(clock.now() - KEPT).date()).delete()


def _count(since: datetime, until: datetime) -> None:
    """Adds up whole days, that of `until` included."""
    with connection.cursor() as cursor:
        cursor.execute(ADD_UP, {"since": since.date(), "until": until.date()})


ROLLUP = Rollup(name=NAME, count=_count, unit=DAY, recounted=DAY, chunk=31 * DAY, first_look=31 * DAY)
