"""Decides which lane a lookup belongs to, and moves waiting lookups when that changes: their key was replaced, or the scope of
the provider's limit was changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from uuid import UUID

from django.db import connection, transaction

from accounts import batches
from accounts.models import Mode
from providers import policies
from providers.models import Credential, Policy
from searches.lanes import pauses, queue
from searches.models import Lane, Lookup, QueueState

# The credentials and lanes of the lookups in queues. Each is one step in an index, however many lookups wait.
IN_USE = """
WITH RECURSIVE in_use AS (
    SELECT unnest(%s::text[]) AS queue_state,
        '00000000-0000-0000-0000-000000000000'::uuid AS credential_id, ''::varchar AS lane_id
    UNION ALL
    SELECT in_use.queue_state, next.credential_id, next.lane_id FROM in_use CROSS JOIN LATERAL (
        SELECT credential_id, lane_id FROM searches_lookup
        WHERE queue_state = in_use.queue_state AND queue_state IN ('ready', 'delayed', 'blocked')
            AND (credential_id, lane_id) > (in_use.credential_id, in_use.lane_id)
        ORDER BY credential_id, lane_id LIMIT 1
    ) AS next
) SELECT DISTINCT credential_id, lane_id FROM in_use WHERE lane_id <> '' ORDER BY 1, 2
"""
# The most transactions of one sweep for one credential in one lane, so that the others are reached as well.
BATCHES = 10


def lane_name(policy: Policy, *, mode: str, tenant_id: UUID, fingerprint: str = "") -> str:
    """Returns the name of the lane for a tenant's lookups with a provider. Test keys have a lane of their tenant's own."""
    if mode == Mode.TEST:
        return f"test:{policy.provider}:{tenant_id}"
    if policy.scope == Policy.Scope.ACCOUNT:
        return f"{policy.provider}:{fingerprint[:32]}"
    return policy.provider


def lane_of(policy: Policy, *, mode: str, tenant_id: UUID, fingerprint: str = "") -> Lane:
    """Returns that lane; creates it if needed."""
    name = lane_name(policy, mode=mode, tenant_id=tenant_id, fingerprint=fingerprint)
    return Lane.objects.select_related("policy").get_or_create(name=name, defaults={"policy": policy, "mode": mode})[0]


def unsaved_lane(policy: Policy, *, mode: str, tenant_id: UUID, fingerprint: str = "") -> Lane:
    """Returns that lane as a new one, with its name, policy and mode, for `create_missing`."""
    name = lane_name(policy, mode=mode, tenant_id=tenant_id, fingerprint=fingerprint)
    return Lane(name=name, policy=policy, mode=mode)


def create_missing(lanes: Iterable[Lane]) -> None:
    """Inserts the lanes that do not exist yet, and their policies.

    Must not be called in a transaction: others that need the same lanes would wait for its end, perhaps with tenant queues
    locked.
    """
    by_name = {lane.name: lane for lane in lanes}
    present = set(Lane.objects.filter(pk__in=by_name).order_by().values_list("pk", flat=True))
    missing = [by_name[name] for name in sorted(by_name) if name not in present]
    if missing:
        for provider in {lane.policy_id for lane in missing}:
            policies.of(provider)
        Lane.objects.bulk_create(missing, ignore_conflicts=True)


def move_lookups() -> None:
    """Moves the waiting lookups whose lane is no longer the one in force for their credential."""
    in_use = credentials_in_use(queue.IN_QUEUE)
    credentials = Credential.objects.in_bulk([credential for credential, _ in in_use])
    lanes = Lane.objects.filter(mode=Mode.LIVE).select_related("policy").in_bulk([lane for _, lane in in_use])
    for credential_id, lane_id in in_use:
        credential, present = credentials.get(credential_id), lanes.get(lane_id)
        if credential is None or present is None:
            continue
        policy, tenant_id, fingerprint = present.policy, credential.tenant_id, credential.fingerprint
        if lane_name(policy, mode=Mode.LIVE, tenant_id=tenant_id, fingerprint=fingerprint) != lane_id:
            new = lane_of(policy, mode=Mode.LIVE, tenant_id=tenant_id, fingerprint=fingerprint)
            batches.repeat(partial(_move_batch, credential, present, new), most=BATCHES)


def credentials_in_use(states: Iterable[QueueState]) -> list[tuple[UUID, str]]:
    """Returns each credential with which lookups are in one of these states of a queue, with their lane."""
    with connection.cursor() as cursor:
        cursor.execute(IN_USE, [[str(state) for state in states]])
        return [(credential, lane) for credential, lane in cursor.fetchall()]


def _move_batch(credential: Credential, old: Lane, new: Lane) -> int:
    """Moves up to `batches.SIZE` lookups; returns how many.

    The new lane takes over the old one's pause if all accounts shared that lane. The pause of one account's lane is its key's.
    """
    with transaction.atomic():
        seconds = pauses.copy_to_lane(old, new) if old.policy_id == old.name else 0.0
        tenant_queues = {
            lane: queue.lock_tenant_queue(lane, credential.tenant_id) for lane in sorted((old.name, new.name))
        }
        own = Lookup.objects.filter(lane=old, tenant=credential.tenant_id, credential=credential)
        moved = queue.lock_batch(own.filter(queue_state__in=queue.IN_QUEUE))
        Lookup.objects.filter(pk__in=[lookup.pk for lookup in moved]).update(lane=new)
        queue.remove(tenant_queues[old.name], moved)
        queue.add(tenant_queues[new.name], moved)
        pauses.copy_to_key(old, new, credential)
    if seconds:
        pauses.pause_limiter(new, seconds=seconds)
    return len(moved)
