"""Forecasts what a waiting lookup can be told: how many go before it, when it should start, and what it waits for.

Its position counts lookups; its start follows from calls, for a lookup of ten pages takes ten turns. Counted are those that
stand ready, the next pages of those that are under way, and those that will have woken by then, or whose tenant's keys will
have rested (`forecasts.sql`). Two
things nobody can know: what is submitted later, and what fails. And one is left out: where answers take longer than the
lane's interval, a tenant's next lookup starts while the one before it is under way, so that it may start earlier than it is
told, never later for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Model

from providers import policies
from providers.models import Policy
from searches import composite_rows
from searches.lanes import pauses, queue
from searches.models import Call, Lane, Lookup, QueueState, TenantQueue

# Past this, a position is only "at least so many": counting one tenant's own million would take 50 ms.
MOST_COUNTED = 10_000

ROWS: Mapping[str, type[Model]] = {"lane": Lane, "policy": Policy}
LANES = f"""
SELECT clock_timestamp(), {composite_rows.columns(ROWS)} FROM searches_lane AS lane
JOIN providers_policy AS policy ON policy.provider = lane.policy_id WHERE lane.name = ANY(%s)
"""
FORETELL = """
SELECT * FROM searches_foretell(%s::uuid[], %s::text[], %s::timestamptz[], %s::interval[], %s, %s)
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


class Stand(NamedTuple):
    """How many go before a lookup, in lookups and in calls, whether its tenant is suspended, and until when its key rests."""

    lookups_before: int
    calls_before: int
    suspended: bool
    rests_until: datetime | None


FIRST = Stand(0, 0, suspended=False, rests_until=None)


def forecast(lookups: Iterable[Lookup]) -> dict[UUID, Forecast]:
    """A forecast for each lookup that waits; for a follower, that of its leader, and when that waits no more, that it
    is its turn.
    """
    asked = list(lookups)
    leader_of = {lookup.pk: lookup.repeat_of_id for lookup in asked if lookup.queue_state == QueueState.FOLLOWING}
    leaders = Lookup.objects.filter(pk__in=set(leader_of.values())) if leader_of else ()
    found = _of_those_in_line({lookup.pk: lookup for lookup in (*asked, *leaders)}.values())
    if not leader_of:
        return found
    under_way = Forecast(estimated_start_at=queue.now(), waiting_on="turn")
    return found | {pk: found.get(leader, under_way) for pk, leader in leader_of.items() if leader}


def _of_those_in_line(lookups: Iterable[Lookup]) -> dict[UUID, Forecast]:
    waiting = [lookup for lookup in lookups if lookup.queue_state in queue.IN_QUEUE]
    if not waiting:
        return {}
    prospects = _prospects({lookup.lane_id for lookup in waiting})
    stands = _stands([lookup.pk for lookup in waiting if lookup.queue_state in queue.SCHEDULED], prospects)
    return {
        # One that was claimed since it was read has nobody before it.
        lookup.pk: _of(lookup, prospects[lookup.lane_id], stands.get(lookup.pk, FIRST))
        for lookup in waiting
    }


def _prospects(lanes: Iterable[str]) -> dict[str, Prospect]:
    with connection.cursor() as cursor:
        cursor.execute(LANES, [list(lanes)])
        found = [(moment, *composite_rows.instances(ROWS, values)) for moment, *values in cursor.fetchall()]
    return {lane.pk: _prospect(lane, policies.in_force(policy, lane.mode), moment) for moment, lane, policy in found}


def lane_state(lane: str, policy: Policy) -> LaneState:
    """A newcomer goes after one turn of every tenant that has work, whatever stands behind them."""
    moment, row = queue.now(), Lane.objects.filter(pk=lane).first()
    if row is None:
        return LaneState(waiting=0, expected_wait_seconds=None if policy.paused else 0)
    lined_up = TenantQueue.objects.filter(lane=lane, ready__gt=0, rests_until=None, tenant__suspended_at=None)
    ready = lined_up.values_list("ready", flat=True)
    tenants, prospect = list(ready), _prospect(row, policy, moment)
    wait = prospect.begins_at - moment + len(tenants) * prospect.pace
    return LaneState(waiting=sum(tenants), expected_wait_seconds=None if prospect.stopped else wait.total_seconds())


def _prospect(lane: Lane, policy: Policy, moment: datetime) -> Prospect:
    pace = timedelta(seconds=policies.rate(policy).interval_seconds)
    goes_on_at = pauses.resumes_at(lane, moment)
    next_turn = lane.claimed_at + pace if lane.claimed_at else moment
    return Prospect(
        begins_at=max(moment, next_turn, goes_on_at or moment, _probe_ends_at(lane) or moment),
        pace=pace,
        stopped=policy.paused or lane.paused,
        told_to_wait=goes_on_at is not None or lane.trips > 0,
    )


def _probe_ends_at(lane: Lane) -> datetime | None:
    """Half-open: the others wait for what comes of the probe, for as long as its lease at the most."""
    if not lane.trips or lane.probe is None:
        return None
    return Call.objects.filter(pk=lane.probe, state=Call.State.ARMED).values_list("leased_until", flat=True).first()


def _of(lookup: Lookup, prospect: Prospect, stand: Stand) -> Forecast:
    if lookup.queue_state == QueueState.BLOCKED:
        return Forecast(waiting_on="credential")
    if prospect.stopped or stand.suspended:
        return Forecast(waiting_on="paused")
    starts_at = prospect.begins_at + stand.calls_before * prospect.pace
    not_before = lookup.not_before if lookup.queue_state == QueueState.DELAYED else stand.rests_until
    if not_before is not None:
        return Forecast(estimated_start_at=max(not_before, starts_at), waiting_on="provider_backoff")
    position = stand.lookups_before + 1
    return Forecast(
        position=position,
        calls_before=stand.calls_before,
        estimated_start_at=starts_at,
        waiting_on="provider_backoff" if prospect.told_to_wait else "rate" if position == 1 else "turn",
    )


def _stands(lookups: Sequence[UUID], prospects: Mapping[str, Prospect]) -> dict[UUID, Stand]:
    if not lookups:
        return {}
    begins = [prospect.begins_at for prospect in prospects.values()]
    paces = [prospect.pace for prospect in prospects.values()]
    with connection.cursor() as cursor:
        cursor.execute(FORETELL, (list(lookups), list(prospects), begins, paces, queue.STEP, MOST_COUNTED))
        return {lookup: Stand(*stand) for lookup, *stand in cursor.fetchall()}
