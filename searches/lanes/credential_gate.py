"""Blocks the lookups whose credential is dead, and unblocks them when it works again. The sweep calls these steps for
credentials whose state was changed by a check, a tenant or another lane. The lookup whose own call found its key dead is
blocked by `queue.block`, and claims pass over the others (`claim.sql`).
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from accounts import batches, clock
from accounts.models import Mode
from providers.keyring import sealing
from providers.models import Credential
from searches.lanes import directory, queue
from searches.models import Call, Lane, Lookup, QueueState, TenantQueue

USABLE = [state for state in Credential.State if state not in Credential.DEAD_STATES]
# A resting tenant queue is due at once if one of its ready lookups has a key that may be called with.
WAKE_RESTED = """
UPDATE searches_tenantqueue SET wake_at = %(moment)s WHERE id IN (
    SELECT tenant_queue.id FROM searches_tenantqueue tenant_queue JOIN searches_lane lane ON lane.name = tenant_queue.lane_id
    WHERE tenant_queue.wake_at > %(moment)s AND tenant_queue.rests_until IS NOT NULL AND EXISTS (
        SELECT FROM providers_credential own
        WHERE own.tenant_id = tenant_queue.tenant_id AND own.provider = lane.policy_id
            AND (own.rests_until IS NULL OR own.rests_until <= %(moment)s)
            AND EXISTS (
                SELECT FROM searches_lookup
                WHERE queue_state = 'ready' AND credential_id = own.id AND lane_id = tenant_queue.lane_id
            )
    ) FOR NO KEY UPDATE OF tenant_queue SKIP LOCKED
)
"""


def must_wait(credential: Credential | None, mode: str) -> bool:
    """Returns whether a new lookup starts as blocked. The sandbox ignores the provider's opinion of a credential."""
    if mode == Mode.TEST or credential is None:
        return False
    return credential.blocks_lookups or sealing.is_unreadable(credential)


def block_dead() -> None:
    """Blocks the scheduled lookups with a dead credential, which a check, a dictionary or another lane found dead."""
    owners = dict(Credential.objects.filter(state__in=Credential.DEAD_STATES).values_list("pk", "tenant"))
    if not owners:
        return
    dead = [(key, lane) for key, lane in directory.credentials_in_use(queue.SCHEDULED) if key in owners]
    live = Lane.objects.filter(mode=Mode.LIVE).in_bulk([lane for _, lane in dead])
    for credential, lane in dead:
        if lane in live:
            batches.repeat(partial(_block_batch, lane, owners[credential], credential), most=directory.BATCHES)


@transaction.atomic
def _block_batch(lane: str, tenant_id: UUID, credential: UUID) -> int:
    return queue.block_waiting(queue.lock_tenant_queue(lane, tenant_id), credential)


def unblock() -> list[str]:
    """Unblocks the lookups whose credential works again; returns the names of their lanes.

    A credential that was found dead, and was replaced or verified since, is probed first: one lookup is unblocked, and the others
    follow when a call has worked. A key that is still empty thus costs one slot at a time. The lookups of an unreadable
    credential stay blocked until the key is entered again, or until `CREDENTIAL_KEYS` has the right key.
    """
    lanes: list[str] = []
    blocked = [credential for credential, _ in directory.credentials_in_use([QueueState.BLOCKED])]
    for credential in Credential.objects.filter(pk__in=blocked, state__in=USABLE):
        if sealing.is_unreadable(credential):
            continue
        # The state may have changed since it was read.
        own = Lookup.objects.filter(credential=credential, credential__state__in=USABLE, queue_state=QueueState.BLOCKED)
        lanes += _unblock_probe(credential, own) if credential.probing else _unblock_all(own)
    return lanes


def _unblock_all(blocked: QuerySet[Lookup]) -> list[str]:
    lanes = dict[str, None]()
    for _ in range(directory.BATCHES):
        # Any of them: to order a million would take long.
        first = list(blocked.order_by().values_list("lane", "tenant")[:1])
        if not first:
            break
        [(lane, tenant_id)] = first
        with transaction.atomic():
            _make_ready(blocked.filter(lane=lane, tenant=tenant_id), queue.lock_tenant_queue(lane, tenant_id))
        lanes[lane] = None
    return list(lanes)


def _unblock_probe(credential: Credential, blocked: QuerySet[Lookup]) -> list[str]:
    """Unblocks the first lookup, unless one is being tried already."""
    blocked = blocked.filter(lane__mode=Mode.LIVE)
    probe = None if _is_tried(credential) else blocked.order_by("sort_key").first()
    if probe is None:
        return []
    with transaction.atomic():
        tenant_queue = queue.lock_tenant_queue(probe.lane_id, probe.tenant_id)
        # Another sweep may have unblocked one before the lock.
        if _is_tried(credential):
            return []
        _make_ready(blocked.filter(pk=probe.pk, lane=probe.lane_id), tenant_queue)
    return [probe.lane_id]


def _is_tried(credential: Credential) -> bool:
    """Returns whether one of its lookups is scheduled or under way. Each query reads one index, for a million may wait."""
    lanes = Lane.objects.filter(policy=credential.provider, mode=Mode.LIVE, tenant_queues__tenant=credential.tenant_id)
    own = Lookup.objects.filter(lane__in=lanes, tenant=credential.tenant_id, credential=credential)
    armed = Call.objects.filter(state=Call.State.ARMED, lookup__credential=credential, lookup__lane__mode=Mode.LIVE)
    return armed.exists() or any(own.filter(queue_state=at).exists() for at in queue.SCHEDULED)


def _make_ready(blocked: QuerySet[Lookup], tenant_queue: TenantQueue) -> None:
    lookups = queue.lock_batch(blocked)
    Lookup.objects.filter(pk__in=[lookup.pk for lookup in lookups]).update(queue_state=QueueState.READY)
    queue.add_ready(tenant_queue, len(lookups), pending_calls=sum(lookup.calls_left for lookup in lookups))


def wake_rested() -> None:
    """Makes resting tenant queues due in which one key rests no longer: it was replaced, or its rest was ended."""
    with connection.cursor() as cursor:
        cursor.execute(WAKE_RESTED, {"moment": clock.now()})
