"""Counts the calls of each lane by minute and by hour, and those of each tenant in a lane by stretches of ten minutes.

The last minutes are counted again by every run, for a call is counted when it ends: `accounts.rollups`. A call that is under way
for longer is counted with its hour, once it has ended. A lookup that moved to another lane takes the calls of the last minutes
with it.

Minutes are kept for two days, and hours for a quarter of a year.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField
from django.db.models.functions import TruncHour

from accounts.models import RollupProgress
from accounts.rollups import HOUR, MINUTE, Rollup, floor, window
from searches.models import LATENCY_BOUNDS_MS, Call, LaneHour, LaneMinute, LaneShare

NAME = "calls"
SHARE = 10 * MINUTE
MINUTES_KEPT, SHARES_KEPT, HOURS_KEPT = timedelta(hours=49), timedelta(hours=25), timedelta(days=92)
FIRST_LOOK = timedelta(hours=48)
# A call ends within seven minutes by any policy, and then the sweep settles it.
RECOUNTED = 10 * MINUTE
# The most hours with calls under way that are counted again: each may have as many calls as the lanes can make.
MOST_AGAIN = 10
# The number of the advisory lock of who writes minutes: two that wrote the same rows in another order would wait for each other.
LANE_MINUTES = 7301204
CLASSES = range(1, len(LATENCY_BOUNDS_MS) + 2)
# The columns that calls have in minutes and in hours.
COUNTS = "calls, unsent, refusals, failures, unknown, latencies"
# A call that was told to wait has this code, whichever words its provider used (`providers.adapters.failure_kinds`).
COUNT = f"""
WITH ended AS MATERIALIZED (
    SELECT lookup.lane_id, lookup.tenant_id, coalesce(call.sent_at, call.armed_at) AS moment, call.state,
        call.state = 'failed' AND call.sent_at IS NULL AS unsent,
        call.state = 'failed' AND (call.error_code = 'rate_limited' OR call.status IS NOT DISTINCT FROM 429) AS refused,
        width_bucket(
            CASE WHEN call.state = 'answered' THEN 1000 * extract(epoch FROM call.finished_at - call.sent_at) END,
            ARRAY{list(LATENCY_BOUNDS_MS)}::numeric[]
        ) + 1 AS class
    FROM searches_call AS call JOIN searches_lookup AS lookup ON lookup.id = call.lookup_id
    WHERE call.id >= %(first)s AND call.id < %(last)s AND call.state <> 'armed'
        AND coalesce(call.sent_at, call.armed_at) >= %(since)s AND coalesce(call.sent_at, call.armed_at) < %(until)s
), shares AS (
    INSERT INTO searches_laneshare AS kept (lane_id, tenant_id, start, calls, counted_at)
    SELECT lane_id, tenant_id, date_bin('10 minutes', moment, 'epoch'), count(*), clock_timestamp()
    FROM ended WHERE NOT unsent GROUP BY 1, 2, 3
    ON CONFLICT (lane_id, start, tenant_id) DO UPDATE SET (calls, counted_at) = (EXCLUDED.calls, EXCLUDED.counted_at)
)
INSERT INTO searches_laneminute AS kept (lane_id, start, {COUNTS}, counted_at)
SELECT lane_id, date_trunc('minute', moment), count(*), count(*) FILTER (WHERE unsent), count(*) FILTER (WHERE refused),
    count(*) FILTER (WHERE state = 'failed' AND NOT refused), count(*) FILTER (WHERE state = 'unknown'),
    ARRAY[{", ".join(f"count(*) FILTER (WHERE class = {number})" for number in CLASSES)}]::integer[], clock_timestamp()
FROM ended GROUP BY 1, 2
ON CONFLICT (start, lane_id) DO UPDATE SET ({COUNTS}, counted_at) = (
    {", ".join(f"EXCLUDED.{name.strip()}" for name in COUNTS.split(","))}, EXCLUDED.counted_at
)
"""
NO_CALLS = "calls = 0, unsent = 0, refusals = 0, failures = 0, unknown = 0, latencies = '{}'"
# What an earlier count had, and this one has not found.
RESET = f"""
UPDATE searches_laneminute SET {NO_CALLS}
WHERE start >= %(since)s AND start < %(until)s AND calls > 0 AND counted_at < %(begun)s
"""
ADD_UP = f"""
INSERT INTO searches_lanehour AS kept (lane_id, start, {COUNTS}, most_waiting)
SELECT lane_id, date_trunc('hour', start, 'UTC'), sum(calls), sum(unsent), sum(refusals), sum(failures), sum(unknown),
    ARRAY[{", ".join(f"coalesce(sum(latencies[{number}]), 0)" for number in CLASSES)}]::integer[], max(waiting)
FROM searches_laneminute WHERE start >= %(since)s AND start < %(until)s GROUP BY 1, 2
ON CONFLICT (start, lane_id) DO UPDATE SET ({COUNTS}, most_waiting) = (
    {", ".join(f"EXCLUDED.{name.strip()}" for name in COUNTS.split(","))}, EXCLUDED.most_waiting
)
"""


def roll_up(*, seconds: float) -> None:
    """Counts calls up to the present, and deletes what is older than it is kept."""
    ROLLUP.catch_up(seconds=seconds)
    counted = RollupProgress.objects.filter(pk=NAME).first()
    if counted is not None:
        # Not before their hours are whole: after an absence these minutes may be the latest ones.
        LaneMinute.objects.filter(start__lt=floor(counted.until - MINUTES_KEPT, HOUR)).delete()
        LaneShare.objects.filter(start__lt=counted.until - SHARES_KEPT).delete()
        LaneHour.objects.filter(start__lt=counted.until - HOURS_KEPT).delete()


def _count(since: datetime, until: datetime) -> None:
    """Counts a window of whole stretches, and adds up its hours."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp() FROM pg_advisory_xact_lock(%s)", [LANE_MINUTES])
        [begun] = cursor.fetchone()
        cursor.execute(COUNT, window(since, until))
        cursor.execute(RESET, {"since": since, "until": until, "begun": begun})
        cursor.execute(ADD_UP, {"since": floor(since, HOUR), "until": until})
    LaneShare.objects.filter(start__gte=since, start__lt=until, counted_at__lt=begun).delete()


def _unsettled(before: datetime) -> Sequence[datetime]:
    """Returns the hours before a window in which calls are under way: their workers are gone, and the sweep will settle them."""
    under_way = Call.objects.filter(state=Call.State.ARMED, armed_at__lt=before)
    hours = under_way.annotate(hour=TruncHour("armed_at", output_field=DateTimeField())).order_by("hour")
    return list(hours.values_list("hour", flat=True).distinct()[:MOST_AGAIN])


ROLLUP = Rollup(
    name=NAME,
    count=_count,
    unsettled=_unsettled,
    unit=SHARE,
    recounted=RECOUNTED,
    chunk=12 * HOUR,
    first_look=FIRST_LOOK,
)
