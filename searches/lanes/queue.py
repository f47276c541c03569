"""Weighted fair queueing between the tenants of a lane, in PostgreSQL: decides whose lookup is called next.

Each tenant has one queue a lane. Its virtual time advances by 1/weight with each claim. A claim takes the queue with the least
virtual time, then that tenant's first lookup by priority and age whose key does not rest. A tenant that was idle returns at the
lane's present virtual time (`return_from_idle.sql`). It gains nothing by having been away, and nothing by splitting its work over
keys, searches or sources.

Locks are taken in one order: lane, tenant queue, lookup, search, credential, credit accounts. The settlement of a failure
therefore notes what the call revealed about the key before it charges or ends anything. Of several rows with one key, all
but the call's own are locked only if no transaction has locked them (`providers.keyring.resting`). Only the database's clock is
compared with rows.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import OperationalError, connection
from django.db.models import DateTimeField, F, Model, Q, QuerySet, Value
from django.db.models.functions import Least
from psycopg.errors import LockNotAvailable
from uuid_utils.compat import uuid7

from accounts import batches, clock
from accounts.models import Mode
from providers import policies
from providers.models import Credential, Policy
from searches import composite_rows
from searches.models import Call, Lane, Lookup, QueueState, Rendering, Search, TenantQueue

# One claim at weight 1, in units of virtual time. It is an integer, so that shares are exact for weights of 1 to 1000.
STEP = 10**9
SCHEDULED = (QueueState.READY, QueueState.DELAYED)
IN_QUEUE = (*SCHEDULED, QueueState.BLOCKED)
WAITING = (*IN_QUEUE, QueueState.FOLLOWING)
# The queues that a claim may take a lookup from.
CLAIMABLE = Q(ready__gt=0, rests_until=None, tenant__suspended_at=None)
# One statement, so that a busy tenant's queue is locked as briefly as possible. A queue that rests is woken: the new lookups may
# use another key, and the next claim finds out.
ADD_READY = """
UPDATE searches_tenantqueue AS own SET
    ready = ready + %(lookups)s, pending_calls = pending_calls + %(pending_calls)s, rests_until = NULL,
    virtual_time = searches_effective_virtual_time(own, (SELECT virtual_time FROM searches_lane WHERE name = %(lane)s))
WHERE lane_id = %(lane)s AND tenant_id = %(tenant)s
"""
CLAIMED: Mapping[str, type[Model]] = {
    "call": Call,
    "lookup": Lookup,
    "search": Search,
    "lane": Lane,
    "credential": Credential,
    "rendering": Rendering,
    "policy": Policy,
}
CLAIM = f"""
SELECT more, begun, {composite_rows.columns(CLAIMED)}
FROM searches_claim(%s, %s, make_interval(secs => %s), %s, %s, %s)
"""


@dataclass(frozen=True, kw_only=True)
class ClaimedLookup:
    """A claimed lookup with its armed call and its picture.

    `claimed_at` is the time of the claim by the local monotonic clock. `more` says whether others of the lane are ready, `begun`
    whether the lookup's search began with this claim.
    """

    lookup: Lookup
    call: Call
    rendering: Rendering | None
    claimed_at: float
    more: bool
    begun: bool

    @property
    def policy(self) -> Policy:
        """The policy that was in force at the claim."""
        return policies.in_force(self.lookup.lane.policy, self.lookup.lane.mode)

    @property
    def asked_at(self) -> datetime:
        """The time of the call's first byte, or of its claim if that is unknown."""
        return self.call.sent_at or self.call.armed_at

    def instant(self, monotonic: float) -> datetime:
        """Converts a time of the local monotonic clock to the database's clock."""
        return self.call.armed_at + timedelta(seconds=monotonic - self.claimed_at)


class Contended(Exception):
    """Another transaction locks the row that would be claimed. The claim should be made again at once."""


def sort_key(*, priority: int, created_at: datetime) -> int:
    """Returns a lookup's rank among its tenant's own: by priority (-10 to 10, high before low), then by age."""
    return (10 - priority) << 56 | int(created_at.timestamp() * 1_000_000)


def claim(lane: str, policy: Policy, *, lease: timedelta) -> ClaimedLookup | None:
    """Claims the lane's next lookup under a lease (`claim.sql`). Returns None if there is none. Raises `Contended`."""
    if policy.paused:
        return None
    dead_states = [str(state) for state in Credential.DEAD_STATES]
    values = lane, str(uuid7()), lease.total_seconds(), STEP, batches.SIZE, dead_states
    with connection.cursor() as cursor:
        try:
            cursor.execute(CLAIM, values)
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise Contended from error
            raise
        more, begun, *rows = cursor.fetchone()
    if more is None:
        return None
    claimed_at = time.monotonic()
    call, lookup, search, own_lane, credential, rendering, own_lane.policy = composite_rows.instances(CLAIMED, rows)
    call.lookup, lookup.search, lookup.lane, lookup.credential = lookup, search, own_lane, credential
    return ClaimedLookup(lookup=lookup, call=call, rendering=rendering, claimed_at=claimed_at, more=more, begun=begun)


def has_ready(lane: str) -> bool:
    return TenantQueue.objects.filter(CLAIMABLE, lane=lane).exists()


def lock_tenant_queue(lane: str, tenant_id: UUID) -> TenantQueue:
    """Locks and returns the tenant's queue in the lane; creates it if needed."""
    own = TenantQueue.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant")
    tenant_queue = own.filter(lane=lane, tenant=tenant_id).first()
    if tenant_queue is None:
        TenantQueue.objects.bulk_create([TenantQueue(lane_id=lane, tenant_id=tenant_id)], ignore_conflicts=True)
        tenant_queue = own.get(lane=lane, tenant=tenant_id)
    return tenant_queue


def lock_tenant_queues(lookups: Iterable[UUID]) -> None:
    """Locks the tenant queues of the lookups, in the order of lanes and tenants."""
    pks, locked = list(lookups), set[tuple[str, UUID]]()
    # As a rule one round is enough. A lookup that changed its lane before its queue was locked takes another.
    while missing := set(Lookup.objects.filter(pk__in=pks).values_list("lane", "tenant")) - locked:
        for lane, tenant_id in sorted(missing, key=str):
            lock_tenant_queue(lane, tenant_id)
        locked |= missing


def lock_batch(lookups: QuerySet[Lookup]) -> list[Lookup]:
    """Locks and returns up to `batches.SIZE` of the lookups. Their tenant queue is locked already, so that none has changed."""
    found = list(lookups.order_by().values_list("pk", flat=True)[: batches.SIZE])
    return list(Lookup.objects.select_for_update(no_key=True).filter(pk__in=found).order_by("pk"))


def enqueue(lane: Lane, tenant_id: UUID, *, lookups: int, pending_calls: int) -> None:
    """Counts lookups that were just written as ready, and their calls, into the tenant's queue."""
    if not add_ready(TenantQueue(lane=lane, tenant_id=tenant_id), lookups, pending_calls=pending_calls):
        add_ready(lock_tenant_queue(lane.name, tenant_id), lookups, pending_calls=pending_calls)


def put_back(lookup: Lookup, tenant_queue: TenantQueue, *, after: timedelta | None = None, void: bool = False) -> None:
    """Returns a claimed lookup to its queue, at once or `after` a delay, and saves the result of its call.

    `void` refunds the claim's virtual time, for it was not used. A lookup whose credential has died meanwhile is blocked.
    """
    if void:
        refunded = F("virtual_time") - STEP // tenant_queue.tenant.weight
        TenantQueue.objects.filter(pk=tenant_queue.pk).update(virtual_time=refunded)
    if on_dead_credentials(Lookup.objects.filter(pk=lookup.pk)).exists():
        block(lookup, tenant_queue)
    elif after is None:
        _save_state(lookup, QueueState.READY)
        add_ready(tenant_queue, 1, pending_calls=lookup.calls_left)
    else:
        due = clock.now() + after
        _save_state(lookup, QueueState.DELAYED, not_before=due)
        TenantQueue.objects.filter(pk=tenant_queue.pk).update(wake_at=min(tenant_queue.wake_at or due, due))


def _save_state(lookup: Lookup, queue_state: QueueState, *, not_before: datetime | None = None) -> None:
    """Saves a claimed lookup's new queue state together with the result of its call, in one statement."""
    lookup.queue_state, lookup.not_before = queue_state, not_before
    lookup.save(update_fields=["queue_state", "not_before", *Lookup.PROGRESS])


def block(lookup: Lookup, tenant_queue: TenantQueue) -> None:
    """Blocks a claimed lookup, and those of the tenant queue with the same credential.

    Lookups in another lane are left to claims and `credential_gate.block_dead`, for their tenant queue is not locked here.
    """
    _save_state(lookup, QueueState.BLOCKED)
    block_waiting(tenant_queue, lookup.credential_id)


def block_waiting(tenant_queue: TenantQueue, credential_id: UUID | None) -> int:
    """Blocks up to `batches.SIZE` lookups with the credential; returns how many. Claims and the sweep block the rest."""
    own = Lookup.objects.filter(
        lane=tenant_queue.lane_id, tenant=tenant_queue.tenant_id, credential=credential_id, queue_state__in=SCHEDULED
    )
    blocked = lock_batch(own)
    keys = [lookup.pk for lookup in blocked]
    Lookup.objects.filter(pk__in=keys).update(queue_state=QueueState.BLOCKED, not_before=None)
    remove(tenant_queue, blocked)
    return len(blocked)


def remove(tenant_queue: TenantQueue, lookups: Sequence[Lookup]) -> None:
    """Subtracts lookups from the queue's counts. Their instances still have the states before, their rows the new ones."""
    calls_left = [lookup.calls_left for lookup in lookups if lookup.queue_state == QueueState.READY]
    TenantQueue.objects.filter(pk=tenant_queue.pk).update(
        ready=F("ready") - len(calls_left),
        pending_calls=F("pending_calls") - sum(calls_left),
        wake_at=_first_due(tenant_queue),
    )


def add(tenant_queue: TenantQueue, lookups: Sequence[Lookup]) -> None:
    """Adds lookups that came from another lane to the queue's counts."""
    calls_left = [lookup.calls_left for lookup in lookups if lookup.queue_state == QueueState.READY]
    add_ready(tenant_queue, len(calls_left), pending_calls=sum(calls_left))
    TenantQueue.objects.filter(pk=tenant_queue.pk).update(wake_at=_first_due(tenant_queue))


def add_ready(tenant_queue: TenantQueue, lookups: int, *, pending_calls: int) -> bool:
    """Adds to the queue's counts. Returns False if it has no row yet."""
    counts = {"lookups": lookups, "pending_calls": pending_calls}
    with connection.cursor() as cursor:
        cursor.execute(ADD_READY, {"lane": tenant_queue.lane_id, "tenant": tenant_queue.tenant_id, **counts})
        return bool(cursor.rowcount)


def _first_due(tenant_queue: TenantQueue) -> Least:
    """Returns when the queue must be woken: when its first delayed lookup is due, or when its rest is over."""
    delayed = Lookup.objects.filter(
        lane=tenant_queue.lane_id, tenant=tenant_queue.tenant_id, queue_state=QueueState.DELAYED
    )
    first = delayed.order_by("not_before").values_list("not_before", flat=True).first()
    return Least(Value(first, DateTimeField()), "rests_until")


def on_dead_credentials(lookups: QuerySet[Lookup]) -> QuerySet[Lookup]:
    """Filters the lookups whose credential is dead. The sandbox ignores the provider's opinion of a credential."""
    return lookups.filter(credential__state__in=Credential.DEAD_STATES, lane__mode=Mode.LIVE).order_by()


def withdraw(lookups: Iterable[Lookup], *, only: Q | None = None) -> list[Lookup]:
    """Takes those of the lookups that still wait out of their queues, for the caller's transaction to end. Returns them locked.

    `only` is a condition that must still hold: since they were read, the lookups may have been claimed and put back.
    """
    pks = [lookup.pk for lookup in lookups]
    lock_tenant_queues(pks)
    waiting = Lookup.objects.select_for_update(no_key=True).filter(only or Q(), pk__in=pks, queue_state__in=WAITING)
    withdrawn = list(waiting.order_by("pk"))
    keys = [lookup.pk for lookup in withdrawn]
    Lookup.objects.filter(pk__in=keys).update(queue_state=QueueState.NONE, not_before=None)
    calls_left: defaultdict[tuple[str, UUID], list[int]] = defaultdict(list)
    for lookup in withdrawn:
        if lookup.queue_state == QueueState.READY:
            calls_left[lookup.lane_id, lookup.tenant_id].append(lookup.calls_left)
    for (lane, tenant_id), calls in calls_left.items():
        TenantQueue.objects.filter(lane=lane, tenant=tenant_id).update(
            ready=F("ready") - len(calls), pending_calls=F("pending_calls") - sum(calls)
        )
    return withdrawn
