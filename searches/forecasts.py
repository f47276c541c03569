"""What a waiting lookup can be told: how many go before it, when it should start, and what it waits for.

Its position counts lookups; its start follows from calls, for a lookup of ten pages takes ten turns. Counted are those that
stand ready, the next pages of those that are under way, and those that will have woken by then. Two things nobody can know: what
is submitted later, and what fails. And one is left out: where answers take longer than the lane's interval, a tenant's next
lookup starts while the one before it is under way, so that it may start earlier than it is told, never later for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.models import Tenant
from providers import policies
from providers.models import Policy
from searches import pauses, scheduler
from searches.models import Lane, Lookup, Place, Standing

# Past this, a position is only "at least so many": counting one tenant's own million would take 50 ms.
MOST_COUNTED = 10_000

# How many turns a place takes until another reaches its virtual time. Equal times go by tenant, as in a claim.
UNTIL = """greatest(0, (reach.{at} - {time} - 1 + (place.tenant_id < reach.tenant_id)::int + %(step)s / tenant.weight)
    / (%(step)s / tenant.weight))"""
# Integers on purpose: sums of big ones are of another type, and twice as slow over ten thousand places.
TAKEN = "sum(least(place.{most}, {until})::integer)"
# How many go before each of the lookups, in lookups and in calls: the tenant's own before it, and of every other tenant as
# many as reach their turn before it does. One scan of a tenant's line, however many are asked for. What is `coming` stands in
# no line now and will before long: a few at most, as it is under way or has just failed.
POSITIONS = f"""
WITH lane AS (
    SELECT name, virtual_time, begins_at, pace FROM searches_lane
    JOIN unnest(%(lanes)s::text[], %(begins)s::timestamptz[], %(paces)s::interval[]) AS told (name, begins_at, pace) USING (name)
), asked AS (
    SELECT lane_id, tenant_id, max(turn) AS last FROM searches_lookup WHERE id = ANY(%(lookups)s) GROUP BY lane_id, tenant_id
), ahead AS (
    SELECT own.* FROM asked CROSS JOIN LATERAL (
        SELECT id, rank() OVER line - 1 AS before, sum(turns) OVER line - turns AS turns FROM (
            SELECT id, turn, pages - pages_done AS turns FROM searches_lookup
            WHERE lane_id = asked.lane_id AND tenant_id = asked.tenant_id AND standing = 'ready' AND turn <= asked.last
            ORDER BY turn LIMIT %(most)s) AS first WINDOW line AS (ORDER BY turn)) AS own
), coming AS (
    SELECT lane_id, tenant_id, turn, pages - pages_done - 1 AS turns, NULL AS due
    FROM searches_call call JOIN searches_lookup ON searches_lookup.id = call.lookup_id
    WHERE call.state = 'armed' AND lane_id = ANY(%(lanes)s) AND pages - pages_done > 1 AND NOT cancel_requested
    UNION ALL
    SELECT lane_id, tenant_id, turn, pages - pages_done, not_before
    FROM searches_lookup WHERE lane_id = ANY(%(lanes)s) AND standing = 'asleep'
), own AS (
    SELECT lookup.id, lookup.lane_id, lookup.tenant_id, lane.virtual_time AS present, lane.begins_at, lane.pace,
        place.virtual_time, %(step)s / tenant.weight AS step, coalesce(ahead.before, %(most)s) AS before,
        coalesce(ahead.turns, %(most)s) + coalesce((
            SELECT sum(coming.turns) FROM coming
            WHERE coming.lane_id = lookup.lane_id AND coming.tenant_id = lookup.tenant_id AND coming.turn < lookup.turn
                AND (coming.due IS NULL OR coming.due <= lane.begins_at + lane.pace * ahead.turns::float8)), 0) AS turns
    FROM searches_lookup lookup
    JOIN lane ON lane.name = lookup.lane_id
    JOIN searches_place place ON place.lane_id = lookup.lane_id AND place.tenant_id = lookup.tenant_id
    JOIN accounts_tenant tenant ON tenant.id = lookup.tenant_id
    LEFT JOIN ahead ON ahead.id = lookup.id
    WHERE lookup.id = ANY(%(lookups)s) AND lookup.standing = 'ready'
), reach AS (
    SELECT *, virtual_time + before * step AS for_lookups, virtual_time + (turns * step)::bigint AS for_calls FROM own
), lined_up AS (
    SELECT reach.id,
        reach.before + coalesce({
    TAKEN.format(most="ready", until=UNTIL.format(at="for_lookups", time="place.virtual_time"))
}, 0)
            AS before,
        reach.turns + coalesce({
    TAKEN.format(most="turns", until=UNTIL.format(at="for_calls", time="place.virtual_time"))
}, 0)
            AS turns
    FROM reach
    LEFT JOIN (searches_place place JOIN accounts_tenant tenant ON tenant.id = place.tenant_id AND tenant.suspended_at IS NULL)
        ON place.lane_id = reach.lane_id AND place.ready > 0 AND place.tenant_id <> reach.tenant_id
        AND place.virtual_time <= reach.for_calls
    GROUP BY reach.id, reach.before, reach.turns
)
SELECT id, lined_up.before, lined_up.turns + coalesce((
    SELECT sum(least(later.turns, greatest(0, {
    UNTIL.format(
        at="for_calls",
        time="CASE WHEN place.ready > 0 THEN place.virtual_time ELSE greatest(place.virtual_time, present) END",
    )
} - place.turns)))
    FROM (
        SELECT tenant_id, sum(turns) AS turns FROM coming WHERE lane_id = reach.lane_id AND tenant_id <> reach.tenant_id
            AND (due IS NULL OR due <= begins_at + pace * lined_up.turns::float8)
        GROUP BY tenant_id
    ) AS later
    JOIN searches_place place ON place.lane_id = reach.lane_id AND place.tenant_id = later.tenant_id
    JOIN accounts_tenant tenant ON tenant.id = later.tenant_id AND tenant.suspended_at IS NULL
), 0)
FROM lined_up JOIN reach USING (id)
"""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """`position`: 1 is next; `calls_before`: how many leave before its first. `waiting_on`: turn, rate, provider_backoff,
    credential or paused.
    """

    position: int | None = None
    calls_before: int | None = None
    estimated_start_at: datetime | None = None
    waiting_on: str | None = None


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """A lane's line as a whole: what stands in it, and how long a newcomer should expect to wait; None where operators alone
    know.
    """

    waiting: int
    expected_wait_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """When the lane's next turn comes, and how long each takes. `stopped`: operators have, so nobody can say."""

    begins_at: datetime
    pace: timedelta
    stopped: bool
    told_to_wait: bool


def forecast(lookups: Iterable[Lookup]) -> dict[UUID, Forecast]:
    """A forecast for each lookup that waits; for one that rides on another, of that one."""
    asked = list(lookups)
    ridden_on = {lookup.pk: lookup.repeat_of_id for lookup in asked if lookup.standing == Standing.RIDING}
    carriers = Lookup.objects.filter(pk__in=set(ridden_on.values())) if ridden_on else ()
    found = _of_those_in_line({lookup.pk: lookup for lookup in (*asked, *carriers)}.values())
    return found | {pk: found[carrier] for pk, carrier in ridden_on.items() if carrier in found}


def _of_those_in_line(lookups: Iterable[Lookup]) -> dict[UUID, Forecast]:
    waiting = [lookup for lookup in lookups if lookup.standing in scheduler.IN_LINE]
    if not waiting:
        return {}
    moment = scheduler.now()
    lanes = Lane.objects.select_related("policy").in_bulk({lookup.lane_id for lookup in waiting})
    prospects = {
        name: _prospect(lane, policies.in_force(lane.policy, lane.mode), moment) for name, lane in lanes.items()
    }
    tenants = Tenant.objects.filter(pk__in={lookup.tenant_id for lookup in waiting})
    suspended = set(tenants.exclude(suspended_at=None).values_list("pk", flat=True))
    counted = _counted([lookup.pk for lookup in waiting if lookup.standing == Standing.READY], prospects)
    return {
        lookup.pk: _of(
            lookup,
            prospect=prospects[lookup.lane_id],
            # One that was claimed since it was read has nobody before it.
            before=counted.get(lookup.pk, (0, 0)),
            suspended=lookup.tenant_id in suspended,
        )
        for lookup in waiting
    }


def lane_state(lane: str, policy: Policy) -> LaneState:
    """A newcomer goes after one turn of every tenant that has work, whatever stands behind them."""
    moment, row = scheduler.now(), Lane.objects.filter(pk=lane).first()
    if row is None:
        return LaneState(waiting=0, expected_wait_seconds=None if policy.paused else 0)
    ready = Place.objects.filter(lane=lane, ready__gt=0, tenant__suspended_at=None).values_list("ready", flat=True)
    tenants, prospect = list(ready), _prospect(row, policy, moment)
    wait = prospect.begins_at - moment + len(tenants) * prospect.pace
    return LaneState(waiting=sum(tenants), expected_wait_seconds=None if prospect.stopped else wait.total_seconds())


def _prospect(lane: Lane, policy: Policy, moment: datetime) -> Prospect:
    pace = timedelta(seconds=policies.rate(policy).interval_seconds)
    goes_on_at = pauses.until(lane, moment)
    next_turn = lane.claimed_at + pace if lane.claimed_at else moment
    return Prospect(
        begins_at=max(moment, next_turn, goes_on_at or moment),
        pace=pace,
        stopped=policy.paused or lane.paused,
        told_to_wait=goes_on_at is not None,
    )


def _of(lookup: Lookup, *, prospect: Prospect, before: tuple[int, int], suspended: bool) -> Forecast:
    if lookup.standing == Standing.PARKED:
        return Forecast(waiting_on="credential")
    if prospect.stopped or suspended:
        return Forecast(waiting_on="paused")
    if lookup.standing == Standing.ASLEEP:
        due = lookup.not_before or prospect.begins_at
        return Forecast(estimated_start_at=max(due, prospect.begins_at), waiting_on="provider_backoff")
    position, calls = before[0] + 1, before[1]
    return Forecast(
        position=position,
        calls_before=calls,
        estimated_start_at=prospect.begins_at + calls * prospect.pace,
        waiting_on="provider_backoff" if prospect.told_to_wait else "rate" if position == 1 else "turn",
    )


def _counted(lookups: Sequence[UUID], prospects: dict[str, Prospect]) -> dict[UUID, tuple[int, int]]:
    """How many go before each, in lookups and in calls."""
    if not lookups:
        return {}
    values: dict[str, Any] = {
        "step": scheduler.STEP,
        "most": MOST_COUNTED,
        "lookups": list(lookups),
        "lanes": list(prospects),
        "begins": [prospect.begins_at for prospect in prospects.values()],
        "paces": [prospect.pace for prospect in prospects.values()],
    }
    with connection.cursor() as cursor:
        cursor.execute(POSITIONS, values)
        return {lookup: (int(before), int(calls)) for lookup, before, calls in cursor.fetchall()}
