"""What a waiting lookup can be told: how many go before it, when it should start, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

from providers import policies
from providers.models import Policy
from searches import pauses, scheduler
from searches.models import Lane, Lookup, Place, Standing

# Past this, a position is only "at least so many": counting one tenant's own million would take 50 ms.
MOST_COUNTED = 10_000

# How many go before each of the lookups: the tenant's own before it, and of every other tenant as many as reach their turn
# before it does. Equal virtual times go by tenant id, as in a claim. One scan of a tenant's line, however many are asked for.
POSITIONS = """
WITH asked AS (
    SELECT lane_id, tenant_id, max(turn) AS last FROM searches_lookup WHERE id = ANY(%(lookups)s) GROUP BY lane_id, tenant_id
), ahead AS (
    SELECT own.id, own.before FROM asked CROSS JOIN LATERAL (
        SELECT id, rank() OVER (ORDER BY turn) - 1 AS before FROM (
            SELECT id, turn FROM searches_lookup
            WHERE lane_id = asked.lane_id AND tenant_id = asked.tenant_id AND standing = 'ready' AND turn <= asked.last
            ORDER BY turn LIMIT %(most)s) AS first) AS own
), own AS (
    SELECT lookup.id, lookup.lane_id, lookup.tenant_id, place.virtual_time, %(step)s / tenant.weight AS step,
           coalesce(ahead.before, %(most)s) AS before
    FROM searches_lookup lookup
    JOIN searches_place place ON place.lane_id = lookup.lane_id AND place.tenant_id = lookup.tenant_id
    JOIN accounts_tenant tenant ON tenant.id = lookup.tenant_id
    LEFT JOIN ahead ON ahead.id = lookup.id
    WHERE lookup.id = ANY(%(lookups)s) AND lookup.standing = 'ready'
), reach AS (SELECT *, virtual_time + before * step AS at FROM own)
SELECT reach.id, reach.before + coalesce(sum(least(
    other.ready,
    greatest(0, (reach.at - other.virtual_time - 1 + (other.tenant_id < reach.tenant_id)::int
                 + %(step)s / tenant.weight) / (%(step)s / tenant.weight)))), 0)
FROM reach
LEFT JOIN searches_place other
    ON other.lane_id = reach.lane_id AND other.ready > 0 AND other.tenant_id <> reach.tenant_id
    AND other.virtual_time <= reach.at
LEFT JOIN accounts_tenant tenant ON tenant.id = other.tenant_id AND tenant.suspended_at IS NULL
GROUP BY reach.id, reach.before
"""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """`position`: 1 is next. `waiting_on`: turn, rate, provider_backoff, credential or paused."""

    position: int | None = None
    estimated_start_at: datetime | None = None
    waiting_on: str | None = None


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """A lane's line as a whole: what stands in it, and how long a newcomer should expect to wait."""

    waiting: int
    expected_wait_seconds: float


def forecast(lookups: Iterable[Lookup]) -> dict[UUID, Forecast]:
    """A forecast for each lookup; an empty one for those that wait for nothing."""
    waiting = [lookup for lookup in lookups if lookup.standing in scheduler.IN_LINE]
    if not waiting:
        return {}
    moment = scheduler.now()
    lanes = Lane.objects.select_related("policy").in_bulk({lookup.lane_id for lookup in waiting})
    positions = _positions(lookup.pk for lookup in waiting if lookup.standing == Standing.READY)
    return {
        lookup.pk: _of(
            lookup,
            lane=lanes[lookup.lane_id],
            # One that was claimed since it was read has nobody before it.
            position=positions.get(lookup.pk, 1),
            moment=moment,
        )
        for lookup in waiting
    }


def lane_state(lane: str, policy: Policy) -> LaneState:
    """A newcomer goes after one turn of every tenant that has work, whatever stands behind them."""
    ready = Place.objects.filter(lane=lane, ready__gt=0, tenant__suspended_at=None).values_list("ready", flat=True)
    tenants = list(ready)
    return LaneState(waiting=sum(tenants), expected_wait_seconds=len(tenants) * policies.rate(policy).interval_seconds)


def _of(lookup: Lookup, *, lane: Lane, position: int, moment: datetime) -> Forecast:
    if lookup.standing == Standing.PARKED:
        return Forecast(waiting_on="credential")
    policy = policies.in_force(lane.policy, lane.mode)
    if policy.paused or lane.paused:
        return Forecast(waiting_on="paused")
    paused_until = pauses.until(lane, moment)
    if lookup.standing == Standing.ASLEEP:
        return Forecast(estimated_start_at=lookup.not_before, waiting_on="provider_backoff")
    start = (paused_until or moment) + timedelta(seconds=position * policies.rate(policy).interval_seconds)
    reason = "provider_backoff" if paused_until else "rate" if position == 1 else "turn"
    return Forecast(position=position, estimated_start_at=start, waiting_on=reason)


def _positions(lookups: Iterable[UUID]) -> dict[UUID, int]:
    with connection.cursor() as cursor:
        cursor.execute(POSITIONS, {"step": scheduler.STEP, "most": MOST_COUNTED, "lookups": list(lookups)})
        return {lookup: int(before) + 1 for lookup, before in cursor.fetchall()}
