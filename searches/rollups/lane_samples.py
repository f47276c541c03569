"""Samples the queues of all lanes: how many lookups wait, how many calls are under way, and since when the oldest lookup waits.

A sample cannot be taken later, so a minute without one stays unknown. The last sample of a minute is kept.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import connection, transaction

from accounts.rollups import MINUTE, floor
from searches.models import SampledMinute
from searches.rollups.lane_calls import COUNTS, LANE_MINUTES

KEPT = timedelta(hours=50)
# Ready lookups are counted by their tenant queues. A lookup's sort key is its priority and, in the lower 56 bits, the microsecond
# at which it was submitted: a step in an index finds a tenant's oldest lookup of each priority, however many wait.
SAMPLE = f"""
WITH RECURSIVE heads AS (
    SELECT queue.lane_id, queue.tenant_id, head.sort_key
    FROM searches_tenantqueue AS queue CROSS JOIN LATERAL (
        SELECT sort_key FROM searches_lookup
        WHERE lane_id = queue.lane_id AND tenant_id = queue.tenant_id AND queue_state = 'ready' ORDER BY sort_key LIMIT 1
    ) AS head
    WHERE queue.ready > 0
    UNION ALL
    SELECT heads.lane_id, heads.tenant_id, head.sort_key FROM heads CROSS JOIN LATERAL (
        SELECT sort_key FROM searches_lookup
        WHERE lane_id = heads.lane_id AND tenant_id = heads.tenant_id AND queue_state = 'ready'
            AND sort_key >= ((heads.sort_key >> 56) + 1) << 56
        ORDER BY sort_key LIMIT 1
    ) AS head
), oldest AS (
    SELECT lane_id, to_timestamp(min(sort_key & ((1::bigint << 56) - 1)) / 1000000.0) AS since FROM heads GROUP BY lane_id
), waiting AS (
    SELECT lane_id, sum(ready) AS lookups FROM searches_tenantqueue WHERE ready > 0 GROUP BY lane_id
), running AS (
    SELECT lookup.lane_id, count(*) AS lookups
    FROM searches_call AS call JOIN searches_lookup AS lookup ON lookup.id = call.lookup_id
    WHERE call.state = 'armed' GROUP BY lookup.lane_id
)
INSERT INTO searches_laneminute AS kept (lane_id, start, {COUNTS}, counted_at, waiting, running, oldest_at)
SELECT lane_id, %(start)s, 0, 0, 0, 0, 0, '{{}}', %(moment)s,
    coalesce(waiting.lookups, 0), coalesce(running.lookups, 0), oldest.since
FROM waiting FULL JOIN running USING (lane_id) LEFT JOIN oldest USING (lane_id)
ON CONFLICT (start, lane_id) DO UPDATE SET (waiting, running, oldest_at) = (
    EXCLUDED.waiting, EXCLUDED.running, EXCLUDED.oldest_at
)
"""
# Begins the minute's sample anew. A lane whose last lookup has ended since would keep the one before.
CLEAR = """
UPDATE searches_laneminute SET waiting = NULL, running = NULL, oldest_at = NULL WHERE start = %s AND waiting IS NOT NULL
"""


@transaction.atomic
def take() -> None:
    """Samples all lanes for the present minute. Waits for another worker that samples or counts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp() FROM pg_advisory_xact_lock(%s)", [LANE_MINUTES])
        [moment] = cursor.fetchone()
        start = floor(moment, MINUTE)
        cursor.execute(CLEAR, [start])
        cursor.execute(SAMPLE, {"start": start, "moment": moment})
    SampledMinute.objects.update_or_create(start=start, defaults={"sampled_at": moment})
    SampledMinute.objects.filter(start__lt=moment - KEPT).delete()
