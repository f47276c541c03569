"""Estimates for waiting lookups how many are ahead, when each should start, and what it waits for.

A lookup that is not written yet is estimated as if it was submitted now, and a `Proposal` as if it was saved.

A position counts lookups. The start follows from calls, for a lookup of ten pages takes ten calls. Calls of four kinds are
counted (`estimates.sql`): of ready lookups, the next pages of those under way, of delayed ones that will be due by then, and of
those whose tenant's keys will have rested by then. Later submits and failures cannot be known. If answers take longer than the
lane's interval, a tenant's next lookup starts before the one ahead of it has ended: then it may start earlier than estimated,
never later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Model

from accounts import clock
from providers import policies
from providers.models import Policy
from searches import composite_rows
from searches.lanes import pauses, queue
from searches.models import Call, Lane, Lookup, QueueState, TenantQueue

# Beyond this a position is a lower bound: to count a million lookups of one tenant would take 50 ms.
MOST_COUNTED = 10_000

ROWS: Mapping[str, type[Model]] = {"lane": Lane, "policy": Policy}
LANES = f"""
SELECT clock_timestamp(), {composite_rows.columns(ROWS)} FROM searches_lane AS lane
JOIN providers_policy AS policy ON policy.provider = lane.policy_id WHERE lane.name = ANY(%s)
"""
ESTIMATE = """
SELECT * FROM searches_estimate(
    %s::uuid[], %s::text[], %s::timestamptz[], %s::interval[], %s, %s,
    %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s::bigint[], %s::integer[], %s::uuid[], %s::integer[]
)
"""
# What the estimate needs of a lookup that is not written yet.
PLANNED = ("pk", "lane_id", "tenant_id", "credential_id", "sort_key", "calls_left")


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The estimate for one lookup.

    `position` 1 is next. `calls_before` counts the calls before the lookup's first. `waiting_on` is turn, rate, provider_backoff,
    credential or paused.
    """

    position: int | None = None
    calls_before: int | None = None
    estimated_start_at: datetime | None = None
    waiting_on: str | None = None


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Holds values that are not saved yet: the weights of tenants, and the policy of one provider."""

    weights: Mapping[UUID, int] = field(default_factory=dict)
    policy: Policy | None = None

    def in_force(self, policy: Policy, mode: str) -> Policy:
        """Returns the policy that would be in force in a lane of this mode, in place of the saved one."""
        if self.policy is not None and self.policy.provider == policy.provider:
            policy = self.policy
        return policies.in_force(policy, mode)


NO_CHANGE = Proposal()


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """A lane's backlog and a new tenant's expected wait, which is None if operators have paused the lane."""

    waiting: int
    expected_wait_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class LanePace:
    """When a lane's next call can be made, and the interval of its calls. Neither is known if operators have `stopped` it."""

    next_call_at: datetime
    interval: timedelta
    stopped: bool
    backing_off: bool


class QueuePosition(NamedTuple):
    """The lookups and calls ahead of a lookup, whether its tenant is suspended, and until when its key rests."""

    lookups_ahead: int
    calls_before: int
    suspended: bool
    rests_until: datetime | None


FIRST = QueuePosition(0, 0, suspended=False, rests_until=None)


def forecast(lookups: Iterable[Lookup], proposal: Proposal = NO_CHANGE) -> dict[UUID, Forecast]:
    """Returns a forecast for each waiting lookup. A follower has its leader's, or is next if its leader no longer waits."""
    asked = list(lookups)
    leader_of = {lookup.pk: lookup.repeat_of_id for lookup in asked if lookup.queue_state == QueueState.FOLLOWING}
    leaders = Lookup.objects.filter(pk__in=set(leader_of.values())) if leader_of else ()
    found = _in_queues({lookup.pk: lookup for lookup in (*asked, *leaders)}.values(), proposal)
    if not leader_of:
        return found
    under_way = Forecast(estimated_start_at=clock.now(), waiting_on="turn")
    return found | {pk: found.get(leader, under_way) for pk, leader in leader_of.items() if leader}


def _in_queues(lookups: Iterable[Lookup], proposal: Proposal) -> dict[UUID, Forecast]:
    waiting = [lookup for lookup in lookups if lookup.queue_state in queue.IN_QUEUE]
    if not waiting:
        return {}
    paces = _paces(waiting, proposal)
    scheduled = [lookup for lookup in waiting if lookup.queue_state in queue.SCHEDULED]
    positions = _positions(scheduled, paces, proposal)
    return {
        # A lookup that was claimed since it was read has none ahead.
        lookup.pk: _forecast_of(lookup, paces[lookup.lane_id], positions.get(lookup.pk, FIRST))
        for lookup in waiting
    }


def _paces(lookups: Sequence[Lookup], proposal: Proposal) -> dict[str, LanePace]:
    """Returns the pace of each lookup's lane, by its name. A lookup that is not written yet may have a lane that is neither."""
    with connection.cursor() as cursor:
        cursor.execute(LANES, [list({lookup.lane_id for lookup in lookups})])
        found = [(moment, *composite_rows.instances(ROWS, values)) for moment, *values in cursor.fetchall()]
    paces = {lane.pk: _pace_of(lane, proposal.in_force(policy, lane.mode), moment) for moment, lane, policy in found}
    unwritten = {lookup.lane_id: lookup.lane for lookup in lookups if lookup.lane_id not in paces}
    return paces | {name: _pace_of(lane, lane.policy, clock.now()) for name, lane in unwritten.items()}


def lane_state(lane: str, policy: Policy) -> LaneState:
    """Returns the lane's state. A new tenant waits for one call of every tenant with work, however much each has."""
    moment, row = clock.now(), Lane.objects.filter(pk=lane).first()
    if row is None:
        return LaneState(waiting=0, expected_wait_seconds=None if policy.paused else 0)
    ready = TenantQueue.objects.filter(queue.CLAIMABLE, lane=lane).values_list("ready", flat=True)
    tenants, pace = list(ready), _pace_of(row, policy, moment)
    wait = pace.next_call_at - moment + len(tenants) * pace.interval
    return LaneState(waiting=sum(tenants), expected_wait_seconds=None if pace.stopped else wait.total_seconds())


def _pace_of(lane: Lane, policy: Policy, moment: datetime) -> LanePace:
    interval = timedelta(seconds=policies.rate(policy).interval_seconds)
    resumes_at = pauses.resumes_at(lane, moment)
    next_slot = lane.claimed_at + interval if lane.claimed_at else moment
    return LanePace(
        next_call_at=max(moment, next_slot, resumes_at or moment, _probe_ends_at(lane) or moment),
        interval=interval,
        stopped=policy.paused or lane.paused,
        backing_off=resumes_at is not None or lane.trips > 0,
    )


def _probe_ends_at(lane: Lane) -> datetime | None:
    """Returns until when a half-open lane waits for its probe's outcome at most: until the probe's lease ends."""
    if not lane.trips or lane.probe is None:
        return None
    return Call.objects.filter(pk=lane.probe, state=Call.State.ARMED).values_list("leased_until", flat=True).first()


def _forecast_of(lookup: Lookup, pace: LanePace, ahead: QueuePosition) -> Forecast:
    if lookup.queue_state == QueueState.BLOCKED:
        return Forecast(waiting_on="credential")
    if pace.stopped or ahead.suspended:
        return Forecast(waiting_on="paused")
    starts_at = pace.next_call_at + ahead.calls_before * pace.interval
    not_before = lookup.not_before if lookup.queue_state == QueueState.DELAYED else ahead.rests_until
    if not_before is not None:
        return Forecast(estimated_start_at=max(not_before, starts_at), waiting_on="provider_backoff")
    position = ahead.lookups_ahead + 1
    return Forecast(
        position=position,
        calls_before=ahead.calls_before,
        estimated_start_at=starts_at,
        waiting_on="provider_backoff" if pace.backing_off else "rate" if position == 1 else "turn",
    )


def _positions(
    lookups: Sequence[Lookup], paces: Mapping[str, LanePace], proposal: Proposal
) -> dict[UUID, QueuePosition]:
    if not lookups:
        return {}
    written = [lookup.pk for lookup in lookups if not lookup._state.adding]
    planned = [lookup for lookup in lookups if lookup._state.adding]
    next_calls = [pace.next_call_at for pace in paces.values()]
    intervals = [pace.interval for pace in paces.values()]
    with connection.cursor() as cursor:
        given = written, list(paces), next_calls, intervals, queue.STEP, MOST_COUNTED
        unwritten = ([getattr(one, name) for one in planned] for name in PLANNED)
        weights = list(proposal.weights), list(proposal.weights.values())
        cursor.execute(ESTIMATE, (*given, *unwritten, *weights))
        return {lookup: QueuePosition(*position) for lookup, *position in cursor.fetchall()}
