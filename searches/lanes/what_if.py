"""Compares the waits of a lane with those that other weights, or another limit, would give, before an operator saves them.

Every figure is an estimate of `estimates`, once under what is saved and once under the `Proposal`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Subquery, Sum

from accounts.models import Mode, Tenant
from providers.models import Policy
from searches.lanes import estimates, next_in_line, queue
from searches.lanes.estimates import Forecast, Proposal
from searches.models import Lane, Lookup, QueueState, TenantQueue

# Tenants that are compared in one lane. Each estimate reads all tenant queues that are before it.
MOST_TENANTS = 8
# Lanes that are compared for a policy, or for a tenant: those with the most ready lookups.
MOST_LANES = 3


@dataclass(frozen=True, kw_only=True)
class Start:
    """When a lookup starts: as it is, and as it would be. None where nobody knows, as in a lane that operators have paused."""

    now: datetime | None
    then: datetime | None


@dataclass(frozen=True, kw_only=True)
class TenantWaits:
    """A tenant's ready lookups in a lane, and the starts of the first and the last of them."""

    tenant: Tenant
    proposed_weight: int
    ready: int
    first: Start
    last: Start

    @property
    def is_exact(self) -> bool:
        """Returns whether all lookups were counted. Otherwise the last one starts later than estimated."""
        return self.ready <= estimates.MOST_COUNTED


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A lane's waits under what is saved and under a proposal. `new_tenant_*`: seconds, or None while the lane is paused."""

    lane: Lane
    new_tenant_now: float | None
    new_tenant_then: float | None
    tenants: list[TenantWaits]


def compare(lane: Lane, proposal: Proposal) -> Comparison:
    """Compares a lane's waits, of the tenants whose weights are proposed and of those that are next in line."""
    saved, proposed = lane.policy_in_force, proposal.in_force(lane.policy, lane.mode)
    return Comparison(
        lane=lane,
        new_tenant_now=estimates.lane_state(lane.pk, saved).expected_wait_seconds,
        new_tenant_then=estimates.lane_state(lane.pk, proposed).expected_wait_seconds,
        tenants=_compare_tenants(lane, proposal),
    )


def busiest_lanes(*, policy: Policy | None = None, tenant: Tenant | None = None) -> list[Lane]:
    """Returns the live lanes of a policy, or the lanes of a tenant, in which the most lookups are ready."""
    queues = TenantQueue.objects.filter(ready__gt=0)
    queues = queues.filter(lane__policy=policy, lane__mode=Mode.LIVE) if policy else queues.filter(tenant=tenant)
    found = queues.order_by().values("lane").annotate(lookups=Sum("ready")).order_by("-lookups", "lane")
    names = [each["lane"] for each in found[:MOST_LANES]]
    lanes = Lane.objects.select_related("policy").in_bulk(names)
    return [lanes[name] for name in names if name in lanes]


def _compare_tenants(lane: Lane, proposal: Proposal) -> list[TenantWaits]:
    tenants = _tenants(lane, proposal.weights)
    ends = Lookup.objects.in_bulk({pk for each in tenants for pk in (each.first, each.last)} - {None})
    now, then = estimates.forecast(ends.values()), estimates.forecast(ends.values(), proposal)
    return [
        TenantWaits(
            tenant=tenant,
            proposed_weight=proposal.weights.get(tenant.pk, tenant.weight),
            ready=tenant.ready_lookups,
            first=_start_of(tenant.first, now, then),
            last=_start_of(tenant.last, now, then),
        )
        for tenant in tenants
    ]


def _tenants(lane: Lane, first_of_all: Iterable[UUID]) -> list[Any]:
    """Returns the given tenants, then those in line, each with the number of its ready lookups and the ids of two of them."""
    in_line = (lookup.tenant_id for lookup in next_in_line.of(lane.pk))
    chosen = list(dict.fromkeys([*first_of_all, *in_line]))[:MOST_TENANTS]
    ready = Lookup.objects.filter(lane=lane, tenant=OuterRef("pk"), queue_state=QueueState.READY)
    own = TenantQueue.objects.filter(queue.CLAIMABLE, lane=lane, tenant=OuterRef("pk"))
    found = Tenant.objects.annotate(
        ready_lookups=Subquery(own.values("ready")),
        first=Subquery(ready.order_by("sort_key").values("pk")[:1]),
        last=Subquery(ready.order_by("-sort_key").values("pk")[:1]),
    ).in_bulk(chosen)
    return [found[pk] for pk in chosen if pk in found and found[pk].ready_lookups and found[pk].first]


def _start_of(pk: UUID, now: Mapping[UUID, Forecast], then: Mapping[UUID, Forecast]) -> Start:
    nothing = Forecast()
    return Start(now=now.get(pk, nothing).estimated_start_at, then=then.get(pk, nothing).estimated_start_at)
