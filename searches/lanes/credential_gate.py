"""What a credential's state means for those who wait in line: the sweep blocks them where it is dead, brings them back where it
works again, and moves them where another lane is in force for it.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from accounts import batches
from accounts.models import Mode
from providers.keyring import sealing
from providers.models import Credential
from searches.lanes import pauses, queue
from searches.models import Call, Lane, Lookup, QueueState, TenantQueue

# A credential in one of these may be called with.
USABLE = (Credential.State.UNKNOWN, Credential.State.VERIFIED)
# The credentials that lookups wait for, each by one step in their index: few are, however many wait.
WAITED_FOR = """
WITH RECURSIVE waited_for AS (
    (SELECT credential_id AS id FROM searches_lookup
     WHERE queue_state = 'blocked' AND credential_id IS NOT NULL ORDER BY credential_id LIMIT 1)
    UNION ALL
    SELECT (SELECT credential_id FROM searches_lookup
            WHERE queue_state = 'blocked' AND credential_id > waited_for.id ORDER BY credential_id LIMIT 1)
    FROM waited_for WHERE waited_for.id IS NOT NULL
) SELECT id FROM waited_for WHERE id IS NOT NULL
"""
# Of which credentials lookups stand in which lanes: as above, for each queue state in turn.
STANDS = """
WITH RECURSIVE stands AS (
    SELECT unnest(ARRAY['ready', 'delayed', 'blocked']) AS queue_state,
        '00000000-0000-0000-0000-000000000000'::uuid AS credential_id, ''::varchar AS lane_id
    UNION ALL
    SELECT stands.queue_state, next.credential_id, next.lane_id FROM stands CROSS JOIN LATERAL (
        SELECT credential_id, lane_id FROM searches_lookup
        WHERE queue_state = stands.queue_state AND queue_state IN ('ready', 'delayed', 'blocked')
            AND (credential_id, lane_id) > (stands.credential_id, stands.lane_id)
        ORDER BY credential_id, lane_id LIMIT 1
    ) AS next
) SELECT credential_id, lane_id, queue_state FROM stands WHERE lane_id <> '' ORDER BY 1, 2
"""
# A tenant queue that rests is due where lookups of its own stand ready on a key that may be called with.
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
# So many transactions of `batches.SIZE` are made of each in one sweep, which has others to see to.
BATCHES = 10


def must_wait(credential: Credential | None, mode: str) -> bool:
    """For a credential to be mended. The sandbox does not care what the provider thinks of it."""
    if mode == Mode.TEST or credential is None:
        return False
    return credential.blocks_lookups or sealing.is_unreadable(credential)


def block_dead() -> None:
    """Blocks what stands in line on a dead credential: it was found so by a check or a dictionary, or in another lane."""
    owners = dict(Credential.objects.filter(state__in=Credential.DEAD_STATES).values_list("pk", "tenant"))
    if not owners:
        return
    lined_up = {(credential, lane) for credential, lane, at in _stands() if at in queue.LINED_UP}
    lined_up = {(credential, lane) for credential, lane in lined_up if credential in owners}
    live = Lane.objects.filter(mode=Mode.LIVE).in_bulk([lane for _, lane in lined_up])
    for credential, lane in sorted(lined_up, key=str):
        if lane in live:
            batches.repeat(partial(_block, lane, owners[credential], credential), most=BATCHES)


@transaction.atomic
def _block(lane: str, tenant_id: UUID, credential: UUID) -> int:
    return queue.block_waiting(queue.lock_tenant_queue(lane, tenant_id), credential)


def move() -> None:
    """Moves what stands in another lane than the one in force: its key was replaced since, or the limit's scope changed."""
    stands = sorted({(credential, lane) for credential, lane, _ in _stands()})
    if not stands:
        return
    of_stands = Credential.objects.in_bulk([credential for credential, _ in stands])
    lanes = Lane.objects.select_related("policy").in_bulk([lane for _, lane in stands])
    for credential_id, lane in stands:
        credential, present = of_stands.get(credential_id), lanes[lane]
        if credential is None or present.mode == Mode.TEST:
            continue
        policy, tenant_id, fingerprint = present.policy, credential.tenant_id, credential.fingerprint
        if queue.lane_name(policy, mode=Mode.LIVE, tenant_id=tenant_id, fingerprint=fingerprint) != lane:
            new = queue.lane_of(policy, mode=Mode.LIVE, tenant_id=tenant_id, fingerprint=fingerprint)
            batches.repeat(partial(_move, credential, present, new), most=BATCHES)


def _stands() -> list[tuple[UUID, str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(STANDS)
        return [(credential, lane, queue_state) for credential, lane, queue_state in cursor.fetchall()]


def _move(credential: Credential, from_lane: Lane, to_lane: Lane) -> int:
    """The other lane stands still as this one did, because of what it takes in: but another account's pause is its own."""
    old, new = from_lane.name, to_lane.name
    with transaction.atomic():
        seconds = pauses.copy_to_lane(from_lane, to_lane) if from_lane.policy_id == old else 0.0
        tenant_queues = {lane: queue.lock_tenant_queue(lane, credential.tenant_id) for lane in sorted((old, new))}
        own = Lookup.objects.filter(lane=old, tenant=credential.tenant_id, credential=credential)
        moved = queue.some_of(own.filter(queue_state__in=queue.IN_LINE))
        Lookup.objects.filter(pk__in=[lookup.pk for lookup in moved]).update(lane=new)
        queue.take_away(tenant_queues[old], moved)
        queue.add(tenant_queues[new], moved)
        pauses.copy_to_key(from_lane, to_lane, credential)
    if seconds:
        pauses.pause_limiter(to_lane, seconds=seconds)
    return len(moved)


def wake_rested() -> None:
    """Has tenant queues looked at again that rest for keys of which one rests no more: it was replaced, or its rest was ended."""
    with connection.cursor() as cursor:
        cursor.execute(WAKE_RESTED, {"moment": queue.now()})


def unblock() -> list[str]:
    """Brings back the lookups whose credential works again, and names their lanes.

    One that cannot be opened needs re-entry; or the right CREDENTIAL_KEYS, and then its lookups go on as if nothing were.
    A credential that was found dead and has been replaced or verified since is on trial: one lookup goes, and what comes of
    it is waited for. The others follow when a call has worked, so that a key that is still empty costs one slot at a time.
    """
    lanes: list[str] = []
    for credential in Credential.objects.filter(pk__in=_waited_for(), state__in=USABLE):
        if sealing.is_unreadable(credential):
            continue
        own = Lookup.objects.filter(credential=credential, credential__state__in=USABLE)
        lanes += _send_probe(credential, own) if credential.probing else _bring_back(own)
    return lanes


def _waited_for() -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(WAITED_FOR)
        return [credential for (credential,) in cursor.fetchall()]


def _bring_back(lookups: QuerySet[Lookup]) -> list[str]:
    blocked, lanes = lookups.filter(queue_state=QueueState.BLOCKED), dict[str, None]()
    for _ in range(BATCHES):
        # Any of them: to look at all would be to look at a million.
        first = blocked.order_by().values_list("lane", "tenant")[:1]
        for lane, tenant_id in first:
            with transaction.atomic():
                _make_ready(blocked.filter(lane=lane, tenant=tenant_id), queue.lock_tenant_queue(lane, tenant_id))
            lanes[lane] = None
        if not first:
            break
    return list(lanes)


def _send_probe(credential: Credential, lookups: QuerySet[Lookup]) -> list[str]:
    """Brings back the first of them, where none is in line or under way."""
    blocked = lookups.filter(queue_state=QueueState.BLOCKED, lane__mode=Mode.LIVE)
    probe = None if _is_tried(credential) else blocked.order_by("sort_key").first()
    if probe is None:
        return []
    with transaction.atomic():
        tenant_queue = queue.lock_tenant_queue(probe.lane_id, probe.tenant_id)
        # Another sweep may have sent one meanwhile.
        if _is_tried(credential):
            return []
        _make_ready(blocked.filter(pk=probe.pk, lane=probe.lane_id), tenant_queue)
    return [probe.lane_id]


def _is_tried(credential: Credential) -> bool:
    """Whether one of its lookups is in line or under way. Of the line, one index is looked into at a time: a million may wait."""
    lanes = Lane.objects.filter(policy=credential.provider, mode=Mode.LIVE, tenant_queues__tenant=credential.tenant_id)
    own = Lookup.objects.filter(lane__in=lanes, tenant=credential.tenant_id, credential=credential)
    armed = Call.objects.filter(state=Call.State.ARMED, lookup__credential=credential, lookup__lane__mode=Mode.LIVE)
    return armed.exists() or any(own.filter(queue_state=at).exists() for at in (QueueState.READY, QueueState.DELAYED))


def _make_ready(blocked: QuerySet[Lookup], tenant_queue: TenantQueue) -> None:
    back = queue.some_of(blocked)
    Lookup.objects.filter(pk__in=[lookup.pk for lookup in back]).update(queue_state=QueueState.READY)
    queue.add_ready(tenant_queue, len(back), pending_calls=sum(lookup.calls_left for lookup in back))
