"""Whose turn is it? Weighted fair queueing between tenants, one line a lane, in PostgreSQL.

Each tenant's queue in a lane has a virtual time, which a claim moves on by 1/weight. A claim takes the queue with the
least, then that tenant's first lookup by priority and age whose key does not rest. A tenant that comes back starts at the
lane's present virtual time (`returning.sql`): it gains nothing by having been away, and nothing by splitting its work over
keys, searches or sources.

Locks are taken in one order: lane, tenant queue, lookup, search, credential, credit accounts. A settlement therefore notes what
its call told of the key before it charges or ends anything. Of rows with one key, all but the call's own are locked only where
nobody waits for it (`providers.keyring.resting`). The database's clock is the only one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import OperationalError, connection
from django.db.models import DateTimeField, F, Model, Q, QuerySet, Value
from django.db.models.functions import Least
from psycopg.errors import LockNotAvailable
from uuid_utils.compat import uuid7

from accounts import batches
from accounts.models import Mode
from providers import policies
from providers.models import Credential, Policy
from searches import composite_rows
from searches.models import Call, Lane, Lookup, QueueState, Rendering, Search, TenantQueue

# A whole turn, in units of virtual time: integers, so that shares are exact for weights of 1 to 1000.
STEP = 10**9
LINED_UP = (QueueState.READY, QueueState.DELAYED)
IN_LINE = (*LINED_UP, QueueState.BLOCKED)
WAITING = (*IN_LINE, QueueState.FOLLOWING)
# One statement, so that a busy tenant's queue is locked no longer than it must be. Where it stands then, `returning.sql` says.
# A tenant queue that rests does so no more: what comes may go with another key, and the next claim finds out.
JOIN = """
UPDATE searches_tenantqueue AS own SET
    ready = ready + %(lookups)s, pending_calls = pending_calls + %(pending_calls)s, rests_until = NULL,
    virtual_time = searches_stands_at(own, (SELECT virtual_time FROM searches_lane WHERE name = %(lane)s))
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
SELECT more, begun, {composite_rows.columns(CLAIMED)} FROM searches_claim(%s, %s, make_interval(secs => %s), %s)
"""


@dataclass(frozen=True, kw_only=True)
class ClaimedLookup:
    """A claimed lookup with its armed call, and the picture that goes with it.

    `claimed_at`: when, by the local monotonic clock. `more`: others of the lane are ready. `begun`: its search just began.
    """

    lookup: Lookup
    call: Call
    rendering: Rendering | None
    claimed_at: float
    more: bool
    begun: bool

    @property
    def policy(self) -> Policy:
        """In force when it was claimed."""
        return policies.in_force(self.lookup.lane.policy, self.lookup.lane.mode)

    @property
    def asked_at(self) -> datetime:
        """When the provider was asked: as far as is known, the instant of the first byte."""
        return self.call.sent_at or self.call.armed_at

    def instant(self, monotonic: float) -> datetime:
        """An instant of the local monotonic clock by the database's, which alone is compared with rows."""
        return self.call.armed_at + timedelta(seconds=monotonic - self.claimed_at)


class Held(Exception):
    """Another transaction holds who would be next: worth asking again at once."""


def sort_key(*, priority: int, created_at: datetime) -> int:
    """Where a lookup stands among its tenant's own: priority first (-10 to 10, high before low), then age."""
    return (10 - priority) << 56 | int(created_at.timestamp() * 1_000_000)


def now() -> datetime:
    """The database's clock, for every instant that rows are compared by."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        present: datetime = cursor.fetchone()[0]
        return present


def claim(lane: str, policy: Policy, *, lease: timedelta) -> ClaimedLookup | None:
    """Takes the fairest ready lookup out of the line, under a lease (`claim.sql`); None where there is none to take.

    Raises `Held`.
    """
    if policy.paused:
        return None
    with connection.cursor() as cursor:
        try:
            cursor.execute(CLAIM, (lane, str(uuid7()), lease.total_seconds(), STEP))
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise Held from error
            raise
        more, begun, *values = cursor.fetchone()
    if more is None:
        return None
    claimed_at = time.monotonic()
    call, lookup, search, own_lane, credential, rendering, own_lane.policy = composite_rows.instances(CLAIMED, values)
    call.lookup, lookup.search, lookup.lane, lookup.credential = lookup, search, own_lane, credential
    return ClaimedLookup(lookup=lookup, call=call, rendering=rendering, claimed_at=claimed_at, more=more, begun=begun)


def is_ready(lane: str) -> bool:
    """Whether anybody in the lane could go now."""
    return TenantQueue.objects.filter(lane=lane, ready__gt=0, rests_until=None, tenant__suspended_at=None).exists()


def lock_tenant_queue(lane: str, tenant_id: UUID) -> TenantQueue:
    """The tenant's queue in the lane, locked; made where there is none."""
    own = TenantQueue.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant")
    tenant_queue = own.filter(lane=lane, tenant=tenant_id).first()
    if tenant_queue is None:
        TenantQueue.objects.bulk_create([TenantQueue(lane_id=lane, tenant_id=tenant_id)], ignore_conflicts=True)
        tenant_queue = own.get(lane=lane, tenant=tenant_id)
    return tenant_queue


def lock_tenant_queues(lookups: Iterable[UUID]) -> None:
    """Those of the lookups, wherever they stand."""
    pks, locked = list(lookups), set[tuple[str, UUID]]()
    # Once as a rule: what moved to another lane until its tenant queue was locked is sought there.
    while missing := set(Lookup.objects.filter(pk__in=pks).values_list("lane", "tenant")) - locked:
        for lane, tenant_id in sorted(missing, key=str):
            lock_tenant_queue(lane, tenant_id)
        locked |= missing


def join(lane: Lane, tenant_id: UUID, *, lookups: int, pending_calls: int) -> None:
    """Counts lookups that were just written as ready into the line, and the calls that they may take."""
    if not _join(lane.name, tenant_id, lookups, pending_calls):
        add_ready(lock_tenant_queue(lane.name, tenant_id), lookups, pending_calls=pending_calls)


def put_back(lookup: Lookup, tenant_queue: TenantQueue, *, after: timedelta | None = None, void: bool = False) -> None:
    """Returns a claimed lookup to where it stood, at once or `after` a while, and saves what its call came to. `void`: its turn
    was not used.

    It is blocked where its credential was found dead while it was under way.
    """
    if void:
        TenantQueue.objects.filter(pk=tenant_queue.pk).update(
            virtual_time=F("virtual_time") - STEP // tenant_queue.tenant.weight
        )
    if on_dead_credentials(Lookup.objects.filter(pk=lookup.pk)).exists():
        block(lookup, tenant_queue)
        return
    if after is None:
        _move_to(lookup, QueueState.READY)
        add_ready(tenant_queue, 1, pending_calls=lookup.calls_left)
        return
    due = now() + after
    _move_to(lookup, QueueState.DELAYED, not_before=due)
    wake_at = min(tenant_queue.wake_at, due) if tenant_queue.wake_at else due
    TenantQueue.objects.filter(pk=tenant_queue.pk).update(wake_at=wake_at)


def _move_to(lookup: Lookup, queue_state: QueueState, *, not_before: datetime | None = None) -> None:
    """Where a claimed lookup stands from now on. What its call came to is saved with it."""
    lookup.queue_state, lookup.not_before = queue_state, not_before
    lookup.save(update_fields=["queue_state", "not_before", *Lookup.PROGRESS])


def block(lookup: Lookup, tenant_queue: TenantQueue) -> None:
    """Takes a claimed lookup, and the tenant's others on the same credential, out of turn until that is mended.

    Those that stand in another lane still are left to claims and `block_dead`, for their tenant queue is not locked here.
    """
    _move_to(lookup, QueueState.BLOCKED)
    block_waiting(tenant_queue, lookup.credential_id)


def block_waiting(tenant_queue: TenantQueue, credential_id: UUID | None) -> int:
    """Blocks those of the queue that wait in line on the credential, and says how many: of more than `batches.SIZE` claims and
    the sweep take care.
    """
    own = Lookup.objects.filter(lane=tenant_queue.lane_id, tenant=tenant_queue.tenant_id, credential=credential_id)
    blocked = some_of(own.filter(queue_state__in=LINED_UP))
    Lookup.objects.filter(pk__in=[lookup.pk for lookup in blocked]).update(
        queue_state=QueueState.BLOCKED, not_before=None
    )
    take_away(tenant_queue, blocked)
    return len(blocked)


def some_of(lookups: QuerySet[Lookup]) -> list[Lookup]:
    """`batches.SIZE` of them, locked. Their queue is locked already, so they stand where they stood when they were found."""
    found = list(lookups.order_by().values_list("pk", flat=True)[: batches.SIZE])
    return list(Lookup.objects.select_for_update(no_key=True).filter(pk__in=found).order_by("pk"))


def take_away(tenant_queue: TenantQueue, lookups: Sequence[Lookup]) -> None:
    """Counts lookups that were in line, and have just been written as elsewhere, out of it."""
    calls_left = [lookup.calls_left for lookup in lookups if lookup.queue_state == QueueState.READY]
    TenantQueue.objects.filter(pk=tenant_queue.pk).update(
        ready=F("ready") - len(calls_left),
        pending_calls=F("pending_calls") - sum(calls_left),
        wake_at=_first_due(tenant_queue),
    )


def add(tenant_queue: TenantQueue, lookups: Sequence[Lookup]) -> None:
    """The contrary, of lookups that came from another lane."""
    calls_left = [lookup.calls_left for lookup in lookups if lookup.queue_state == QueueState.READY]
    add_ready(tenant_queue, len(calls_left), pending_calls=sum(calls_left))
    TenantQueue.objects.filter(pk=tenant_queue.pk).update(wake_at=_first_due(tenant_queue))


def _first_due(tenant_queue: TenantQueue) -> Least:
    """When the queue is to be looked at again: its first sleeper is due, or its rest is over."""
    asleep = Lookup.objects.filter(
        lane=tenant_queue.lane_id, tenant=tenant_queue.tenant_id, queue_state=QueueState.DELAYED
    )
    first = asleep.order_by("not_before").values_list("not_before", flat=True).first()
    return Least(Value(first, DateTimeField()), "rests_until")


def on_dead_credentials(lookups: QuerySet[Lookup]) -> QuerySet[Lookup]:
    """Those that wait in vain. The sandbox does not care what the provider thinks of a credential."""
    return lookups.filter(credential__state__in=Credential.DEAD_STATES, lane__mode=Mode.LIVE).order_by()


def withdraw(lookups: Iterable[Lookup], *, only: Q | None = None) -> list[Lookup]:
    """Takes those of the lookups that still wait, in line or as followers, out of it, locked; the caller's
    transaction ends them.

    `only`: what must be true of them still, for they may have been claimed and come back since they were read.
    """
    pks = [lookup.pk for lookup in lookups]
    lock_tenant_queues(pks)
    waiting = Lookup.objects.select_for_update(no_key=True).filter(only or Q(), pk__in=pks, queue_state__in=WAITING)
    taken = list(waiting.order_by("pk"))
    Lookup.objects.filter(pk__in=[lookup.pk for lookup in taken]).update(queue_state=QueueState.NONE, not_before=None)
    ready, pending_calls = Counter[tuple[str, UUID]](), Counter[tuple[str, UUID]]()
    for lookup in taken:
        if lookup.queue_state == QueueState.READY:
            ready[lookup.lane_id, lookup.tenant_id] += 1
            pending_calls[lookup.lane_id, lookup.tenant_id] += lookup.calls_left
    for (lane, tenant_id), count in ready.items():
        own = TenantQueue.objects.filter(lane=lane, tenant=tenant_id)
        own.update(ready=F("ready") - count, pending_calls=F("pending_calls") - pending_calls[lane, tenant_id])
    return taken


def lane_name(policy: Policy, *, mode: str, tenant_id: UUID, fingerprint: str = "") -> str:
    """The lane that a tenant's lookups with a provider go through. A test key's is its tenant's own."""
    if mode == Mode.TEST:
        return f"test:{policy.provider}:{tenant_id}"
    if policy.scope == Policy.Scope.ACCOUNT:
        return f"{policy.provider}:{fingerprint[:32]}"
    return policy.provider


def lane_of(policy: Policy, *, mode: str, tenant_id: UUID, fingerprint: str = "") -> Lane:
    """That lane's row; made where there is none."""
    name = lane_name(policy, mode=mode, tenant_id=tenant_id, fingerprint=fingerprint)
    return Lane.objects.select_related("policy").get_or_create(name=name, defaults={"policy": policy, "mode": mode})[0]


def lane_for(policy: Policy, *, mode: str, tenant_id: UUID, fingerprint: str = "") -> Lane:
    """That lane as it is when it is new, which says its name and mode: for `open_lanes`."""
    name = lane_name(policy, mode=mode, tenant_id=tenant_id, fingerprint=fingerprint)
    return Lane(name=name, policy=policy, mode=mode)


def open_lanes(lanes: Iterable[Lane]) -> None:
    """Writes those that are not there yet, in no transaction: in one, whoever needs them too would wait for its end, with its
    tenant queues locked perhaps.
    """
    by_name = {lane.name: lane for lane in lanes}
    present = set(Lane.objects.filter(pk__in=by_name).order_by().values_list("pk", flat=True))
    missing = [by_name[name] for name in sorted(by_name) if name not in present]
    if missing:
        Lane.objects.bulk_create(missing, ignore_conflicts=True)


def add_ready(tenant_queue: TenantQueue, count: int, *, pending_calls: int) -> None:
    _join(tenant_queue.lane_id, tenant_queue.tenant_id, count, pending_calls)


def _join(lane: str, tenant_id: UUID, lookups: int, pending_calls: int) -> bool:
    """False where there is no such queue."""
    with connection.cursor() as cursor:
        cursor.execute(JOIN, {"lane": lane, "tenant": tenant_id, "lookups": lookups, "pending_calls": pending_calls})
        return bool(cursor.rowcount)
