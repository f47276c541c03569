"""What a waiting lookup can be told: how many go before it, when it should start, and what it waits for.

Its position counts lookups; its start follows from calls, for a lookup of ten pages takes ten turns. Counted are those that
stand ready, the next pages of those that are under way, and those that will have woken by then (`forecasts.sql`). Two
things nobody can know: what is submitted later, and what fails. And one is left out: where answers take longer than the
lane's interval, a tenant's next lookup starts while the one before it is under way, so that it may start earlier than it is
told, never later for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.models import Tenant
from providers import policies
from providers.models import Policy
from searches import pauses, scheduler
from searches.models import Call, Lane, Lookup, Place, Standing

# Past this, a position is only "at least so many": counting one tenant's own million would take 50 ms.
MOST_COUNTED = 10_000

POSITIONS = Path(__file__).with_name("forecasts.sql").read_text()


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
    """A forecast for each lookup that waits; for one that rides on another, of that one, and when that waits no more, that it
    is its turn.
    """
    asked = list(lookups)
    ridden_on = {lookup.pk: lookup.repeat_of_id for lookup in asked if lookup.standing == Standing.RIDING}
    carriers = Lookup.objects.filter(pk__in=set(ridden_on.values())) if ridden_on else ()
    found = _of_those_in_line({lookup.pk: lookup for lookup in (*asked, *carriers)}.values())
    if not ridden_on:
        return found
    under_way = Forecast(estimated_start_at=scheduler.now(), waiting_on="turn")
    return found | {pk: found.get(carrier, under_way) for pk, carrier in ridden_on.items() if carrier}


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
    counted = _counted([lookup.pk for lookup in waiting if lookup.standing in scheduler.LINED_UP], prospects)
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


def _of(lookup: Lookup, *, prospect: Prospect, before: tuple[int, int], suspended: bool) -> Forecast:
    if lookup.standing == Standing.PARKED:
        return Forecast(waiting_on="credential")
    if prospect.stopped or suspended:
        return Forecast(waiting_on="paused")
    starts_at = prospect.begins_at + before[1] * prospect.pace
    if lookup.standing == Standing.ASLEEP:
        return Forecast(
            estimated_start_at=max(lookup.not_before or starts_at, starts_at), waiting_on="provider_backoff"
        )
    position = before[0] + 1
    return Forecast(
        position=position,
        calls_before=before[1],
        estimated_start_at=starts_at,
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
